"""JSON schemas of a tool's arguments (json-schema.org): which it takes, and some that it would take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_TEXT = "probe"
_UNKNOWN = frozenset({"allOf", "not", "if", "pattern", "patternProperties", "dependentRequired", "contains"})
"""Demands for which nothing is made up."""
_DEEPEST, _LARGEST = 10, 1000


class UnsatisfiableError(ValueError):
    """No arguments were found for a schema; the message names the demand."""


def fitted(arguments: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Those of the arguments that the tool takes, numbers as text where it wants text.

    One application's tools may take less over one way of speaking to them than over another.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(arguments)
    return {
        name: str(value) if isinstance(value, int) and _type_of(properties[name]) == "string" else value
        for name, value in arguments.items()
        if name in properties
    }


def _type_of(schema: object) -> object:
    return schema.get("type") if isinstance(schema, Mapping) else None


def satisfying(schema: Schema) -> Any:
    """The smallest value that the schema allows: of an object the required properties.

    Raises UnsatisfiableError where it asks for what cannot be made up.
    """
    try:
        return _value(schema, schema, 0)
    except UnsatisfiableError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnsatisfiableError(f"a schema in no known form ({error})") from None


def _value(schema: object, root: Schema, depth: int) -> Any:
    if schema is True:
        return _TEXT
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        raise UnsatisfiableError("a schema that allows nothing, or has no end")
    if unknown := sorted(_UNKNOWN & schema.keys()):
        raise UnsatisfiableError(unknown[0])
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for listed in ("enum", "examples"):
        if schema.get(listed):
            return schema[listed][0]
    if "$ref" in schema:
        return _value(_referred(schema["$ref"], root), root, depth + 1)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _first(choices, root, depth)
    type_ = schema.get("type", "object" if "properties" in schema else "string")
    return _of_type(type_[0] if isinstance(type_, list) else type_, schema, root, depth)


def _referred(reference: str, root: Schema) -> object:
    found: object = root
    for name in reference.removeprefix("#/").split("/"):
        if not isinstance(found, Mapping) or name not in found:
            raise UnsatisfiableError(f"$ref {reference}")
        found = found[name]
    return found


def _first(choices: list[object], root: Schema, depth: int) -> Any:
    faults = []
    for choice in choices:
        try:
            return _value(choice, root, depth + 1)
        except UnsatisfiableError as error:
            faults.append(str(error))
    raise UnsatisfiableError(", ".join(faults))


def _of_type(type_: str, schema: Schema, root: Schema, depth: int) -> Any:
    match type_:
        case "object":
            properties, required = schema.get("properties", {}), schema.get("required", ())
            return {name: _value(properties.get(name, True), root, depth + 1) for name in required}
        case "array":
            wanted = _at_most(_LARGEST, schema.get("minItems", 0))
            return [_value(schema.get("items", True), root, depth + 1) for _ in range(wanted)]
        case "string":
            return _text(schema)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            raise UnsatisfiableError(f"type {type_}")


def _text(schema: Schema) -> str:
    if "format" in schema:
        raise UnsatisfiableError(f"format {schema['format']}")
    shortest = _at_most(_LARGEST, schema.get("minLength", 0))
    return _TEXT.ljust(shortest, "-")[: _at_least(shortest, schema.get("maxLength", _LARGEST))]


def _at_most(bound: int, wanted: int) -> int:
    if wanted > bound:
        raise UnsatisfiableError(f"a size of {wanted}")
    return wanted


def _at_least(bound: int, wanted: int) -> int:
    if wanted < bound:
        raise UnsatisfiableError(f"a size of at least {bound} and at most {wanted}")
    return wanted


def _number(schema: Schema) -> int:
    """A whole number between the bounds, as near to 1 as they allow."""
    lowest = schema.get("exclusiveMinimum", schema.get("minimum", -math.inf) - 1) + 1
    highest = schema.get("exclusiveMaximum", schema.get("maximum", math.inf) + 1) - 1
    number = int(min(max(1, lowest), highest))
    if "multipleOf" in schema or not lowest <= number <= highest:
        raise UnsatisfiableError("bounds without a whole number between them")
    return number
