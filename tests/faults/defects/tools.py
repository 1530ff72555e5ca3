"""The application's tools do not work on the new table, or not as well; or it does not refuse what it should."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from migrator.errors import ProbeError
from migrator.migration import Behaviour
from migrator.probes import Probe
from tests.faults.defects.course import NOTED, Defect
from tests.notes import ADD_NOTE

BUSY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) SELECT count(*) FROM n"


def tool(name: str, gate: str, says: str, call: Callable[[sqlite3.Connection], object]) -> Defect:
    """The application has a tool more, `find_notes`."""
    return Defect(name, gate, says, tools=lambda: (Probe("find_notes", call),), subject=NOTED)


def query(sql: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(sql).fetchall()


def where_migrated(sql: str) -> Callable[[sqlite3.Connection], object]:
    """What is called only where the notes have stars; its answer is nobody's."""

    def call(connection: sqlite3.Connection) -> None:
        if connection.execute("SELECT 1 FROM pragma_table_info('notes') WHERE name = 'stars'").fetchone():
            connection.execute(sql).fetchall()

    return call


def leaking() -> tuple[Probe, ...]:
    """It keeps twelve megabytes of every call, as long as the tools themselves are there."""
    kept: list[bytearray] = []
    return (Probe("find_notes", lambda connection: kept.append(bytearray(b"x") * (12 << 20))),)


def half_written(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes (body, mood) VALUES ('half', 'good')")
    if connection.execute("SELECT code FROM notes WHERE body = 'half'").fetchone() == (None,):
        raise ProbeError("notes.code of the new row is None, expected a number")


def with_promise(behaviour: Behaviour) -> Defect:
    return Defect(
        f"a promise that is not kept: {behaviour.name}",
        "check_constraints",
        f"does not keep the promise '{behaviour.name}'",
        change=lambda declared: replace(declared, behaviours=(behaviour,)),
        subject=NOTED,
    )


DEFECTS = (
    tool(
        "a tool that reads a column that is gone",
        "validate_tool",
        "tool find_notes worked before and fails on the migrated copy: no such column: place",
        query("SELECT id FROM notes WHERE place IS NOT NULL"),
    ),
    tool(
        "a tool that writes a value that is refused",
        "validate_tool",
        "tool find_notes worked before and fails .*: CHECK constraint failed: mood",
        lambda connection: connection.execute("INSERT INTO notes (body, mood) VALUES ('b', 'Happy')").rowcount,
    ),
    tool(
        "a tool that answers something else",
        "validate_tool",
        "tool find_notes worked before .* answers differently about data that was there before",
        query("SELECT id FROM notes WHERE mood = 'happy' COLLATE NOCASE"),
    ),
    tool(
        "a tool that reads by position",
        "validate_tool",
        "tool find_notes worked before .* answers differently",
        lambda connection: [row[3] for row in connection.execute("SELECT * FROM notes ORDER BY id LIMIT 9")],
    ),
    tool("a tool that commits", "validate_tool", "the probe of tool find_notes ended the transaction", query("COMMIT")),
    tool(
        "a tool that rolls back",
        "validate_tool",
        "the probe of tool find_notes ended the transaction",
        query("ROLLBACK"),
    ),
    Defect(
        "a repaired tool that does half of it",
        "validate_tool",
        "tool add_note still fails on the migrated copy: notes.code of the new row is None",
        tools=lambda: (replace(ADD_NOTE, call=half_written),),
        subject=NOTED,
    ),
    tool(
        "a slow tool",
        "check_performance",
        r"tool find_notes is too slow on the migrated copy: p95 \d+.\d ms, .* before",
        where_migrated(BUSY.format(1_500_000)),
    ),
    Defect(
        "a tool over the budget",
        "check_performance",
        "tool find_notes is too slow on the migrated copy: .*budget 5 ms",
        tools=lambda: (Probe("find_notes", query(BUSY.format(400_000))),),
        # Half a second of work, measured as often as the gate does, would be half a minute.
        code=("migrator.performance.BUDGET_MS", 5.0),
        subject=NOTED,
    ),
    tool(
        "a tool that reads the whole table",
        "check_performance",
        "tool find_notes reads all of notes although the migration gives it indexes",
        query("SELECT id FROM notes WHERE body = 'note 5'"),
    ),
    tool(
        "a tool for which SQLite makes an index at each call",
        "check_performance",
        "tool find_notes reads all of notes although the migration gives it indexes",
        query("SELECT count(*) FROM tags JOIN notes ON notes.body = tags.tag"),
    ),
    Defect(
        "a leaking tool",
        "check_performance",
        r"memory grew by [\d,]+ bytes .* with tool find_notes",
        tools=leaking,
        subject=NOTED,
    ),
    with_promise(Behaviour("a body is given once", ("INSERT INTO notes (body) VALUES ('note 1')",), refused="UNIQUE")),
    with_promise(Behaviour("any mood", ("INSERT INTO notes (body, mood) VALUES ('b', 'grim')",))),
)
