"""What a command says of an argument that it cannot take."""

import re
from typing import get_args

import pytest
from pydantic import ByteSize

from flows.arguments import UsageError, parse
from flows.check.request import CheckRequest
from flows.drill import DrillRequest
from flows.fleet.request import FleetRequest
from flows.request import BackupsRequest, ListRequest, MigrationRequest, RestoreRequest, VerifyRequest

MODELS = (
    MigrationRequest, RestoreRequest, ListRequest, BackupsRequest, VerifyRequest, CheckRequest, DrillRequest,
    FleetRequest,
)  # fmt: skip
NUMBERS = [
    (model, name)
    for model in MODELS
    for name, field in model.model_fields.items()
    if {int, float, ByteSize} & {field.annotation, *get_args(field.annotation)}
]
SAID = re.compile(r"'.*' is no (whole number|number|size such as 20GB)|.+ is (less|more|not more) than [0-9]+")


def told(model, *arguments):
    with pytest.raises(UsageError) as raised:
        parse(model, "flows.x", arguments, demo=model is MigrationRequest)
    assert raised.value.way_out == "see python -m flows.x --help"
    return raised.value.fault


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--to", "abc"], "--to: 'abc' is no whole number"),
        (["--to", "1.5"], "--to: '1.5' is no whole number"),
        (["--to", "9" * 5000], f"--to: '{'9' * 5000}' is no whole number"),
        (["--to=-1"], "--to: -1 is less than 0"),
        (["--to", "10000"], "--to: 10000 is more than 9999"),
        (["--max-lock-ms", "250ms"], "--max-lock-ms: '250ms' is no number"),
        (["--max-lock-ms", "0"], "--max-lock-ms: 0 is not more than 0"),
        (["--demo", "many"], "argument --demo: 'many' is no whole number"),
        (["--demo=-1"], "argument --demo: -1 is less than 0"),
    ],
)
def test_a_number_that_is_none_or_too_small_or_too_large_is_told_so(arguments, fault):
    assert told(MigrationRequest, *arguments) == fault


def test_a_size_that_is_none_is_told_with_an_example():
    assert told(BackupsRequest, "--max-bytes", "20XB") == "--max-bytes: '20XB' is no size such as 20GB"
    assert told(BackupsRequest, "--max-bytes", "lots") == "--max-bytes: 'lots' is no size such as 20GB"


def test_an_option_that_is_left_out_is_said_to_be_needed():
    assert told(RestoreRequest, "--database", "x.db") == "--backup: it must be given"


@pytest.mark.parametrize(("model", "name"), NUMBERS, ids=lambda part: getattr(part, "__name__", part))
@pytest.mark.parametrize("given", ["abc", "-1"])
def test_no_command_says_it_in_the_words_of_a_library(model, name, given):
    option = f"--{name.replace('_', '-')}"
    assert SAID.fullmatch(told(model, f"{option}={given}").removeprefix(f"{option}: "))


def test_the_commands_take_these_numbers():
    found = sorted({name for _, name in NUMBERS})
    assert found == [
        "keep_daily",
        "keep_last",
        "keep_weekly",
        "max_bytes",
        "max_lock_ms",
        "parallel",
        "timeout_s",
        "to",
    ]
