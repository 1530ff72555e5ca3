"""What a migration is, and what its checksum covers."""

from dataclasses import replace

import pytest

from migrator.ltmc import LTMC
from migrator.migration import (
    Answers,
    Back,
    Behaviour,
    Change,
    DeclarationError,
    Mapped,
    Migration,
    Switch,
)


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        (lambda: Change("t", indexes=("CREATE INDEX i ON t (a)")), "`indexes` that are no tuple of str"),
        (lambda: Change("t", identity="ab"), "`identity` that are no tuple of str"),
        (lambda: Change("t", drops=["CREATE INDEX i ON t (a)"]), "`drops` that are no tuple of str"),
        (lambda: Change("t", behaviours=(Behaviour("x", ()))), "`behaviours` that are no tuple of Behaviour"),
        (lambda: Migration(Change("t")), "`changes` that are no tuple of Change"),
        (lambda: Migration(("t",)), "`changes` that are no tuple of Change"),
        (lambda: Migration((), tools=("add_todo")), "`tools` that are no tuple of str"),
        (lambda: Migration((), probes=("add_todo",)), "`probes` that are no tuple of Probe"),
    ],
)
def test_a_tuple_of_one_without_its_comma_is_refused(declared, named):
    with pytest.raises(DeclarationError, match=f"{named}; a tuple of one needs a comma"):
        declared()


TEXT = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"


@pytest.mark.parametrize(
    "fields",
    [
        {"values": {"b": "1"}},
        {"back": {"b": Back("a", "a")}},
        {"back": {"a": Back("b", "b")}},
        {"before": TEXT, "after": None, "indexes": ("CREATE INDEX i ON t (a)",)},
    ],
)
def test_a_change_that_names_what_its_texts_do_not_have_is_refused(fields):
    with pytest.raises(DeclarationError, match="change of t"):
        Change("t", **{"before": TEXT, "after": TEXT} | fields)


CHANGE = Change(
    "t",
    before=TEXT,
    after="CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c TEXT)",
    values={
        "a": Mapped("lower(a)", {"yes": ("yes", "y"), "no": ("no",)}),
        "b": Switch("shorten", on="a", off="b"),
        "c": "a || 'X'",
    },
    where="a <> 'x'",
    back={"a": Back("b", "b + 1")},
    originals="t_old",
    ahead="t_new",
    indexes=("CREATE INDEX i ON t (a)",),
    behaviours=(Behaviour("x", ("SELECT 1",)),),
)


def checksum(change: Change) -> str:
    return Migration((change,)).checksum


@pytest.mark.parametrize(
    "fields",
    [
        {"before": "create table  T (\n id integer primary key, -- the key\n [a] text)"},
        {"after": "CREATE TABLE t(id INTEGER PRIMARY KEY,a TEXT,b INTEGER,c TEXT)"},
        {"values": {key: CHANGE.values[key] for key in "cba"}},
        {"values": CHANGE.values | {"c": "a  ||  'X' -- comment"}},
        {"values": CHANGE.values | {"a": Mapped("LOWER( a )", CHANGE.values["a"].spellings)}},
        {"values": CHANGE.values | {"a": Mapped("lower(a)", CHANGE.values["a"].spellings, option="map_a")}},
        {"where": "a<>'x'"},
        {"indexes": ("create index I on T(a)",)},
        {"behaviours": ()},
    ],
)
def test_the_layout_of_a_declaration_leaves_its_checksum(fields):
    assert checksum(replace(CHANGE, **fields)) == checksum(CHANGE)


@pytest.mark.parametrize(
    "fields",
    [
        {"table": "T"},
        {"before": TEXT + " STRICT"},
        {"after": "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c TEXT COLLATE NOCASE)"},
        {"values": CHANGE.values | {"a": Mapped("upper(a)", CHANGE.values["a"].spellings)}},
        {"values": CHANGE.values | {"a": Mapped("lower(a)", {"yes": ("yes", "Y"), "no": ("no",)})}},
        {"values": CHANGE.values | {"a": Mapped("lower(a)", {"yes": ("yes", " y"), "no": ("no",)})}},
        {"values": CHANGE.values | {"a": Mapped("lower(a)", {"Yes": ("yes", "y"), "no": ("no",)})}},
        {"values": CHANGE.values | {"a": "lower(a)"}},
        {"values": CHANGE.values | {"b": Switch("Shorten", on="a", off="b")}},
        {"values": CHANGE.values | {"b": Switch("shorten", on="b", off="b")}},
        {"values": CHANGE.values | {"b": Switch("shorten", on="a")}},
        {"values": CHANGE.values | {"c": "a || 'x'"}},
        {"values": {key: CHANGE.values[key] for key in "ab"}},
        {"where": None},
        {"where": "a <> 'X'"},
        {"back": {}},
        {"back": {"a": Back("c", "b + 1")}},
        {"back": {"a": Back("b", "b + 2")}},
        {"originals": None},
        {"originals": "T_old"},
        {"ahead": None},
        {"mark": "SELECT 1"},
        {"indexes": ()},
        {"indexes": ("CREATE UNIQUE INDEX i ON t (a)",)},
    ],
)
def test_every_meaning_of_a_declaration_changes_its_checksum(fields):
    assert checksum(replace(CHANGE, **fields)) != checksum(CHANGE)


def test_the_checksum_of_0001_is_the_one_that_databases_have():
    # A ledger that says otherwise refuses every later run: this number may change only where 0001 itself does.
    assert LTMC.migrations[0].checksum == "9da28ff3d1222f64d085a937a02b40762bddd1adcabe248739e0857451ee90df"


def test_the_order_of_changes_counts_and_what_is_no_change_does_not():
    other = Change("u")
    assert Migration((CHANGE, other)).checksum != Migration((other, CHANGE)).checksum
    assert Migration((CHANGE,), tools=("x",), version=7, name="n").checksum == checksum(CHANGE)


def test_answers_come_back_from_their_json():
    answers = Answers({"maybe": "partial", "'": None}, frozenset({"b", "a"}))
    assert answers.as_json() == '{"map": {"\'": null, "maybe": "partial"}, "switches": ["a", "b"]}'
    assert Answers.from_json(answers.as_json()) == answers
    assert Answers.from_json(Answers().as_json()) == Answers()
