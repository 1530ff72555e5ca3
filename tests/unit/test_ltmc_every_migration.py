"""What holds for every migration of the application, also for one that is added: up, down, up is the same content."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import pytest

from flows.request import MigrationRequest
from migrator.ddl import quote
from migrator.ltmc import LTMC
from migrator.migration import Mapped, Migration, Switch
from migrator.plan import State
from migrator.planning import make_plan
from migrator.schema import read_schema
from tests.unit.ltmc_databases import REAL, at_version, failures
from tests.unit.migrating import NO_ANSWERS, everything, one, plan_for, promote, rehearse

WRITING = ("store_memory", "log_chat", "add_todo", "complete_todo", "store_context_links", "log_code_attempt")
OWN = set(chain.from_iterable(m.own_tables for m in LTMC.migrations))
EACH = pytest.mark.parametrize("declared", LTMC.migrations, ids=lambda m: m.label)


@dataclass
class Found:
    """A database at the version before a migration, and what it holds."""

    name: str
    connection: sqlite3.Connection
    content: dict[str, object]


DATABASES: dict[str, bytes | None] = {"demo": None} | ({"real": REAL.read_bytes()} if REAL.exists() else {})


@pytest.fixture(params=DATABASES)
def before(request: pytest.FixtureRequest, declared: Migration) -> Found:
    connection = at_version(declared.version - 1, DATABASES[request.param])
    return Found(request.param, connection, everything(connection, OWN))


def there_or_back(connection: sqlite3.Connection, declared: Migration, carry_out: Callable, **way: bool) -> object:
    """What the database holds after the way; every other migration's own tables stay as they are."""
    others = everything(connection, declared.own_tables)
    carry_out(connection, plan_for(connection, [declared], **way))
    now = everything(connection, declared.own_tables)
    kept = OWN - declared.own_tables
    assert {t: now.get(t) for t in kept} == {t: others.get(t) for t in kept}
    return everything(connection, OWN)


@EACH
@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_up_down_up_is_the_same_content_to_the_byte(before, declared, carry_out):
    connection = before.connection
    up = there_or_back(connection, declared, carry_out)
    # The demo has something to change for each of them.
    assert up != before.content or before.name != "demo"
    assert there_or_back(connection, declared, carry_out, reverse=True) == before.content
    assert there_or_back(connection, declared, carry_out) == up
    assert there_or_back(connection, declared, carry_out, reverse=True) == before.content


@EACH
def test_every_value_applied_twice_is_the_value_applied_once(before, declared):
    connection = before.connection
    promote(connection, plan_for(connection, [declared]))
    # As if nobody had migrated yet: without originals there is nothing to give back, only values to compute.
    again = make_plan([declared], State(read_schema(connection, OWN)), {declared.version: NO_ANSWERS})
    for table in again.tables:
        if table.projection is not None:
            assert connection.execute(table.projection.differing_from(table.table)).fetchone() == (0,)


@EACH
def test_the_demo_has_rows_for_every_value_that_a_migration_makes(declared):
    connection = at_version(declared.version - 1)
    projections = {t.table: t.projection for t in plan_for(connection, [declared]).tables}
    for change in (c for c in declared.changes if c.values):
        rows = projections[change.table].sql(only=projections[change.table].concerned)
        asked_for = {c for c, value in change.values.items() if isinstance(value, Switch) and value.off is None}
        for column in change.values.keys() - asked_for:
            made = one(connection, f"SELECT count({quote(column)}) FROM ({rows})")
            assert made, f"no row of the demo has a {column} of {change.table}: add some to migrator/ltmc/demo.py"


@EACH
def test_what_is_written_at_the_new_version_survives_the_way_back_and_forth(before, declared):
    connection = before.connection
    promote(connection, plan_for(connection, [declared]))
    for tool in WRITING:
        probe = next(p for p in LTMC.probes_at(declared.version) if p.tool == tool)
        probe.call(connection)
    new = everything(connection, OWN)
    promote(connection, plan_for(connection, [declared], reverse=True))
    promote(connection, plan_for(connection, [declared]))
    now = everything(connection, OWN)
    marks, then = dict(now.pop("sqlite_sequence")), dict(new.pop("sqlite_sequence"))
    assert now == new
    # An id that was given in another way meanwhile is not given again.
    assert {name: mark for name, mark in marks.items() if mark < then[name]} == {}


@EACH
def test_every_promise_of_a_migration_is_kept_after_it(before, declared):
    promote(before.connection, plan_for(before.connection, [declared]))
    for behaviour in chain.from_iterable(change.behaviours for change in declared.changes):
        said = refusal(before.connection, behaviour.statements)
        assert (said is None) == (behaviour.refused is None), (behaviour.name, said)
        assert (said or "").startswith(behaviour.refused or ""), behaviour.name


def refusal(connection: sqlite3.Connection, statements: tuple[str, ...]) -> str | None:
    """What SQLite says of the last of them; the earlier ones it has to carry out."""
    *first, last = statements
    connection.execute("BEGIN")
    try:
        for statement in first:
            connection.execute(statement)
        return fault_of(connection, last)
    finally:
        connection.execute("ROLLBACK")


def fault_of(connection: sqlite3.Connection, statement: str) -> str | None:
    try:
        connection.execute(statement)
    except sqlite3.IntegrityError as error:
        return str(error)
    return None


@EACH
def test_only_tools_that_the_migration_names_fail_before_it_and_none_after_it(before, declared):
    connection = before.connection
    assert set(failures(connection, declared.version)) <= set(declared.tools)
    promote(connection, plan_for(connection, [declared]))
    assert failures(connection, declared.version) == {}


def test_all_of_them_up_in_one_go_and_down_in_one_go():
    for database in DATABASES.values():
        connection = at_version(0, database)
        before = everything(connection)
        in_steps = everything(at_version(len(LTMC.migrations), database))
        promote(connection, plan_for(connection, LTMC.migrations))
        assert everything(connection) == in_steps
        promote(connection, plan_for(connection, LTMC.migrations, reverse=True))
        assert everything(connection) == before


@EACH
def test_the_options_that_a_migration_names_are_options_of_the_command_line(declared):
    values = (value for change in declared.changes for value in change.values.values())
    named = {value.option for value in values if isinstance(value, Mapped | Switch)} - {""}
    assert named <= MigrationRequest.model_fields.keys()
    assert named or declared.version != 1
