"""Command-line arguments from a pydantic model: its fields are the options, its descriptions the help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_origin

from pydantic import BaseModel, JsonValue, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from migrator.errors import RefusedError

M = TypeVar("M", bound=BaseModel)

DEMO_ROWS = 1000
_METAVARS = {"map_result": "VALUE=RESULT", "to": "VERSION", "max_lock_ms": "N", "backup_dir": "DIR", "report": "FILE"}
_METAVARS |= dict.fromkeys(("keep_last", "keep_daily", "keep_weekly"), "N")
_METAVARS |= {"max_bytes": "SIZE", "copy_to": "URL", "remote": "URL", "backup": "PATH|URL"}
_METAVARS |= {"tool_server": "COMMAND"}
_METAVARS |= {"docs": "DIR", "logs": "FILE", "source": "DIR", "sarif": "FILE", "write_schema": "FILE.py"}
_METAVARS |= {"exclude": "PATTERN"}
_METAVARS |= {"new": "NAME", "desired": "FILE.sql", "rename": "OLD=NEW"}
_METAVARS |= {"databases": "PATH", "glob": "PATTERN", "inventory": "FILE", "waves": "SIZES", "max_failed": "N|N%"}
_METAVARS |= {"parallel": "N", "timeout_s": "SECONDS", "state": "FILE"}

FOR_PROGRAMS: dict[str, JsonValue] = {"for_programs": True}
"""Marks a field that is no option: only programs give it, in Prefect."""


_WORDS = dict.fromkeys(("int_parsing", "int_parsing_size", "int_from_float"), "{given!r} is no whole number")
_WORDS |= {"float_parsing": "{given!r} is no number", "missing": "it must be given"}
_WORDS |= {"greater_than": "{given} is not more than {gt:g}", "greater_than_equal": "{given} is less than {ge:g}"}
_WORDS |= {"less_than_equal": "{given} is more than {le:g}"}
_WORDS |= dict.fromkeys(("byte_size", "byte_size_unit"), "{given!r} is no size such as 20GB")
"""By the type of a pydantic error (docs.pydantic.dev/latest/errors/validation_errors)."""


class UsageError(RefusedError):
    """An argument is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def parse(model: type[M], program: str, arguments: Sequence[str], demo: bool = True) -> tuple[M, argparse.Namespace]:
    """The request, and what only a terminal knows: `json`, and with `demo` that (a number of rows, or None) and `sql`.

    Raises UsageError where an argument is wrong.
    """
    parser = _Parser(prog=f"python -m {program}", description=model.__doc__, allow_abbrev=False)
    fields = {name: field for name, field in model.model_fields.items() if field.json_schema_extra != FOR_PROGRAMS}
    for name, field in fields.items():
        option = "--" + name.replace("_", "-")
        if field.annotation is bool:
            parser.add_argument(option, action="store_true", help=_help(field))
        elif field.annotation == list[Path]:
            parser.add_argument(
                option, action="extend", nargs="+", metavar=_METAVARS.get(name, "PATH"), help=_help(field)
            )
        else:
            action = "append" if get_origin(field.annotation) is list else "store"
            parser.add_argument(option, action=action, metavar=_METAVARS.get(name, "PATH"), help=_help(field))
    parser.add_argument("--json", action="store_true", help="Print the report as one JSON object on stdout.")
    if demo:
        parser.add_argument(
            "--demo",
            nargs="?",
            const=DEMO_ROWS,
            type=_rows,
            metavar="ROWS",
            help=f"Make an un-migrated database of ROWS rows (default {DEMO_ROWS}) in demo/ and migrate it.",
        )
        parser.add_argument(
            "--sql", action="store_true", help="With --dry-run: print the promotion's SQL, nothing else."
        )
    options = parser.parse_args(arguments)
    if demo and options.demo is not None and options.database is not None:
        parser.error("--demo makes its own database; leave --database out")
    if demo and options.sql and (options.json or not options.dry_run):
        parser.error("--sql goes with --dry-run, and prints no JSON")
    given: dict[str, Any] = {name: value for name in fields if (value := getattr(options, name)) is not None}
    try:
        return model.model_validate(given), options
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(f"--{str(first['loc'][0]).replace('_', '-')}: {_in_words(first)}")


def _in_words(error: ErrorDetails) -> str:
    """What is wrong with what was given for an option: pydantic's own words are for programmers."""
    if error["type"] in _WORDS:
        return _WORDS[error["type"]].format(given=error["input"], **error.get("ctx", {}))
    return str(error["msg"]).removeprefix("Value error, ")


def _help(field: FieldInfo) -> str:
    """The description, with the default where that is a number or a word and the description does not name it."""
    said, default = field.description or "", field.default
    if isinstance(default, bool) or not isinstance(default, float | int | str) or "Default:" in said:
        return said
    shown = default if isinstance(default, str) else f"{default:g}"
    # argparse fills in what follows a % itself.
    return f"{said} Default: {shown.replace('%', '%%')}."


def _rows(text: str) -> int:
    try:
        return TypeAdapter(NonNegativeInt).validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(_in_words(error.errors()[0])) from None
