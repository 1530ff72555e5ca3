"""What is told of an error: its words and names stay, what stood in a row does not."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime

import pytest
from pydantic import TypeAdapter

from migrator.tools import fault_text
from migrator.without_values import without_values

SECRET = 'the user\'s "secret", as typed'
WORD = "hunter2"
ROW = {"title": WORD, "id": 1}


@pytest.mark.parametrize(
    "text",
    [
        "no such column: function_name",
        "table CodePatterns has no column named function_name",
        'near "WHERE": syntax error',
        "UNIQUE constraint failed: Todos.title",
        "No module named 'faiss'",
        "name 'faiss.x' is not defined",
        "its answer lacks 'message_id'",
        "list_todos() got an unexpected keyword argument 'status'",
        "list_todos() missing 1 required positional argument: 'status'",
        "it doesn't know the users' tables, and can't",
        'File "/a b/server.py", line 3, in <module>',
        "Expecting value: line 1 column 1 (char 0)",
        "unable to open database file",
        "",
    ],
)
def test_words_and_names_stay(text):
    assert without_values(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"invalid literal for int() with base 10: '{WORD}'", "invalid literal for int() with base 10: '..'"),
        (f"could not convert string to float: '{WORD}'", "could not convert string to float: '..'"),
        (f"Invalid isoformat string: '{WORD}'", "Invalid isoformat string: '..'"),
        (f"time data '{WORD}' does not match", "time data '..' does not match"),
        (f"Could not decode to UTF-8 column 'tags' with text '{SECRET}",
         "Could not decode to UTF-8 column 'tags'"),
        (f"no chat {SECRET!r} found", "no chat '..' found"),
        (f"no chat '{SECRET.replace(chr(34), '')}' found", "no chat '..' found"),
        (f"no chat `{WORD} {WORD}` found", "no chat `..` found"),
        (f"not to be read: {(1, WORD, None, b'a b')}", "not to be read: (1, '..', None, b'..')"),
        (f"not to be read: {[WORD, WORD]}", "not to be read: ['..', '..']"),
        (f"not to be read: {ROW}", "not to be read: {'title': '..', 'id': 1}"),
        (f"not to be read: {json.dumps({'title': SECRET})}", 'not to be read: {"title": ".."}'),
        (f"not to be read: Todo(title={WORD!r})", "not to be read: Todo(title='..')"),
        (f"cut off: 'the beginning of {WORD}", "cut off: '..'"),
        (f"on two lines: 'one\n{WORD}'", "on two lines: '..'"),
    ],
)  # fmt: skip
def test_values_do_not(text, told):
    assert without_values(text) == told


@pytest.mark.parametrize("value", [SECRET, WORD, "x" * 200 + SECRET, {"title": SECRET, "n": [WORD]}, (SECRET,)])
def test_of_a_pydantic_error_the_fault_stays(value):
    with pytest.raises(ValueError, match="input_value") as raised:
        TypeAdapter(dict[str, int]).validate_python(value)
    told = without_values(str(raised.value))
    assert "input_type=" in told
    assert "validation error" in told
    assert not any(part in told for part in (WORD, "secret", "typed"))


def test_a_pydantic_error_that_was_cut_off_tells_nothing_either():
    assert without_values(f"Field required [type=missing, input_value={WORD} and") == (
        "Field required [type=missing, input_value=.."
    )


def test_what_a_call_was_given_does_not_come_back():
    given = {"claude code", "claude code 2", "status", ""}
    assert without_values("no chats of claude code 2 by status", given) == "no chats of .. by status"


def test_what_python_and_sqlite_say_of_a_value_is_told_without_it():
    with closing(sqlite3.connect(":memory:")) as connection:
        errors = []
        for attempt in (
            lambda: int(WORD),
            lambda: float(WORD),
            lambda: datetime.fromisoformat(WORD),
            lambda: {}[SECRET],
            lambda: json.loads(f"[{SECRET}"),
            lambda: connection.execute(f"SELECT CAST(x'ff{WORD.encode().hex()}' AS TEXT) AS a").fetchall(),
            lambda: connection.execute("SELECT json(?)", (SECRET,)).fetchall(),
        ):
            with pytest.raises((ValueError, LookupError, sqlite3.Error)) as raised:
                attempt()
            errors.append(fault_text(raised.value))
    assert errors == [
        "invalid literal for int() with base 10: '..'",
        "could not convert string to float: '..'",
        "Invalid isoformat string: '..'",
        "'..'",
        "Expecting value: line 1 column 2 (char 1)",
        "Could not decode to UTF-8 column 'a'",
        "malformed JSON",
    ]
