"""Arguments for a tool: fitted to what it takes, or made up where nobody knows it."""

import pytest

from migrator.tool_server.tool_schema import UnsatisfiableError, fitted, satisfying


def test_arguments_that_a_tool_does_not_take_are_left_out():
    schema = {"properties": {"content": {"type": "string"}, "role": {"type": "string"}}}
    assert fitted({"content": "a", "role": "user", "metadata": {"n": 1}}, schema) == {"content": "a", "role": "user"}


def test_a_number_becomes_text_only_where_the_tool_wants_text():
    arguments = {"message_id": 7, "limit": 5, "either": 3}
    either = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    schema = {"properties": {"message_id": {"type": "string"}, "limit": {"type": "integer"}, "either": either}}
    assert fitted(arguments, schema) == {"message_id": "7", "limit": 5, "either": 3}


def test_a_tool_that_says_nothing_of_its_arguments_gets_all():
    assert fitted({"a": 1}, {}) == {"a": 1}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object"}, {}),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "probe"}),
        ({"type": "object", "required": ["a"]}, {"a": "probe"}),
        ({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"a": 1}),
        ({"const": 5}, 5),
        ({"type": "string", "default": "x"}, "x"),
        ({"enum": ["all", "queries"]}, "all"),
        ({"type": "string", "examples": ["2025-08-09"], "format": "date"}, "2025-08-09"),
        ({"type": "string", "minLength": 7}, "probe--"),
        ({"type": "string", "maxLength": 2}, "pr"),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMinimum": 4, "maximum": 9}, 5),
        ({"type": "integer", "exclusiveMaximum": 1}, 0),
        ({"type": "number", "minimum": 0, "maximum": 1}, 1),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"anyOf": [{"type": "string", "pattern": "^x$"}, {"type": "integer"}]}, 1),
        ({"$ref": "#/$defs/Kind", "$defs": {"Kind": {"enum": ["code"]}}}, "code"),
    ],
)
def test_the_smallest_value_that_a_schema_allows_is_made_up(schema, value):
    assert satisfying(schema) == value


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "pattern": "^[0-9]+$"}, "pattern"),
        ({"type": "string", "format": "uri"}, "format uri"),
        ({"type": "integer", "multipleOf": 7}, "bounds"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "bounds"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "a size of at least 3 and at most 2"),
        ({"type": "string", "minLength": 10**12}, "a size of 1000000000000"),
        ({"type": "array", "minItems": 10**12}, "a size of 1000000000000"),
        ({"allOf": [{"type": "string"}]}, "allOf"),
        ({"anyOf": [{"type": "file"}, False]}, "type file, a schema that allows nothing"),
        ({"$ref": "#/$defs/Gone"}, r"\$ref #/\$defs/Gone"),
        ({"$ref": "#"}, r"\$ref #"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/properties/a"}}}, "has no end"),
        ({"type": "integer", "minimum": "many"}, "a schema in no known form"),
        ({"type": "object", "required": 5}, "a schema in no known form"),
        ({"type": "object", "properties": [], "required": ["a"]}, "a schema in no known form"),
    ],
)
def test_what_cannot_be_made_up_is_said(schema, message):
    with pytest.raises(UnsatisfiableError, match=message):
        satisfying(schema)
