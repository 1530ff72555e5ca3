"""The sizes of waves and the limits of failures."""

from fractions import Fraction

import pytest

from migrator.errors import RefusedError
from migrator.fleet.waves import Amount, Wave, parse_amount, parse_amounts, plan_waves

TEN = tuple("abcdefghij")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12", Amount(Fraction(12), False)),
        (" 0 ", Amount(Fraction(0), False)),
        ("30%", Amount(Fraction(3, 10), True)),
        ("2.5%", Amount(Fraction(1, 40), True)),
        ("100%", Amount(Fraction(1), True)),
    ],
)
def test_an_amount_is_a_number_or_a_share(text, amount):
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "x", "101%", "1e3", "5 %", "%", "1/3", "2.5", "٣"])
def test_anything_else_is_refused(text):
    with pytest.raises(RefusedError, match="neither a number nor a percentage"):
        parse_amount(text)


def test_a_wave_is_rounded_up_and_a_limit_down():
    assert [parse_amount("30%").at_least(n) for n in (0, 1, 10, 11)] == [1, 1, 3, 4]
    assert [parse_amount("30%").at_most(n) for n in (0, 1, 3, 4, 10)] == [0, 0, 0, 1, 3]
    assert (parse_amount("0").at_least(5), parse_amount("0").at_most(5), parse_amount("7").at_most(5)) == (1, 0, 7)


def sizes_of(databases, sizes):
    return [(wave.name, len(wave.databases)) for wave in plan_waves(databases, parse_amounts(sizes))]


def test_the_first_database_is_the_canary_and_goes_alone():
    assert plan_waves("abc", parse_amounts("100%")) == (Wave("canary", ("a",)), Wave("wave 1", ("b", "c")))


def test_a_named_canary_goes_first_and_the_others_keep_their_order():
    waves = plan_waves("abcd", parse_amounts("2"), canary="c")
    assert waves == (Wave("canary", ("c",)), Wave("wave 1", ("a", "b")), Wave("wave 2", ("d",)))


def test_a_canary_that_is_none_of_the_databases_is_refused():
    with pytest.raises(RefusedError, match="the canary x is none of the databases"):
        plan_waves("ab", parse_amounts("1"), canary="x")


def test_the_last_size_is_repeated_until_none_is_left():
    assert sizes_of(TEN, "1,3") == [("canary", 1), ("wave 1", 1), ("wave 2", 3), ("wave 3", 3), ("wave 4", 2)]


def test_shares_are_of_the_databases_after_the_canary():
    fleet = [f"{n}.db" for n in range(1001)]
    assert sizes_of(fleet, "10%,30%,100%") == [("canary", 1), ("wave 1", 100), ("wave 2", 300), ("wave 3", 600)]


def test_a_single_database_is_only_a_canary():
    assert sizes_of(["a"], "10%") == [("canary", 1)]
