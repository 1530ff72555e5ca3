"""The SQL shown for review is what the promotion sends, statement by statement, in the same order."""

import re
import sqlite3
from contextlib import closing

import pytest

from migrator.connect import opened
from migrator.ledger import Entry, record_applied, record_reversed
from migrator.ltmc import LTMC
from migrator.migration import Change
from migrator.one_transaction import in_one_transaction
from migrator.preflight import preflight
from migrator.script import promotion_script, promotion_steps
from tests.notes import NOTES, make_notes, migration, notes_application
from tests.runs import migrate, run_sql
from tests.unit.generating import application
from tests.unit.made_up import CHAT, MADE_UP, TASKS

READS = re.compile(
    r"PRAGMA \w+$|PRAGMA busy_timeout=|SELECT (?!count)|SELECT count\(\*\) FROM sqlite_master|-- |ROLLBACK",
    re.IGNORECASE,
)
"""What asks for settings and for the schema; a comment is how SQLite traces what it runs inside another statement."""
TIME = re.compile(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00:00'")


def _sent(database, app, plan, state):
    """Every statement of the real promotion of `plan`, without those that only read."""
    entry = Entry("<run>", "<backup>", "<schema before>", "<schema after>", 0.0, 0)

    def write_ledger(connection, seconds, rows):
        if plan.reverse:
            record_reversed(connection, app.name, plan.migrations, "<run>", "<schema after>")
        else:
            record_applied(connection, app.name, plan.migrations, plan.answers, entry)

    sent = []
    with opened(database) as connection:
        connection.set_trace_callback(sent.append)
        in_one_transaction(connection, app, plan, state, write_ledger)
        connection.set_trace_callback(None)
    sent = sent[: sent.index("COMMIT") + 1]
    return [TIME.sub("'<now>'", sql).strip() for sql in sent if not READS.match(sql.strip())]


def _unmatched(steps, sent):
    """What was sent and stands in no step, and the steps that are always sent and were not, in order."""
    left = list(sent)
    missing = []
    for step in steps:
        sql = step.sql.strip()
        if not sql:
            continue
        pattern = re.escape(sql).replace(r"\?", ".*").replace(r"\.\.\.", ".*").replace("INDEX", "(?:INDEX|TRIGGER)")
        matches = (lambda text, p=pattern: re.fullmatch(p, text, re.DOTALL)) if step.only else sql.__eq__
        if left and matches(left[0]):
            left.pop(0)
            while step.only and left and matches(left[0]):
                left.pop(0)
        elif not step.only:
            missing.append(sql)
    return left, missing


def _made(path, *statements):
    run_sql(path, *statements)
    return path


def _notes(path, *statements):
    make_notes(path)
    return _made(path, *statements)


TWO = notes_application(migration(), migration(Change("tags", values={"tag": "upper(tag)"}), version=2))
MINE = "CREATE INDEX mine ON notes (mood)"
OF_INDEXES = notes_application(
    migration(Change("notes", indexes=("CREATE INDEX mine ON notes (mood DESC)",), drops=(MINE,)), tools=())
)
OF_A_FEW_ROWS = notes_application(
    migration(Change("notes", values={"mood": "lower(mood)"}, where="mood <> lower(mood)", drops=(MINE,)), tools=())
)
FAMILY = (TASKS, CHAT, "INSERT INTO tasks VALUES (1, 'one', 0)", "INSERT INTO chat VALUES (1, 'hello', 's1', 'user')")
CASES = {
    "a table with originals, a mark, a trigger and statistics": (NOTES, lambda p: _notes(p, "ANALYZE"), (), None),
    "a table without rows": (NOTES, lambda p: _notes(p, "DELETE FROM tags", "DELETE FROM notes"), (), None),
    "back": (
        NOTES, lambda p: _notes(p, "ANALYZE"), ("INSERT INTO notes (body, mood, stars) VALUES ('x', 'good', 5)",), 0
    ),
    "two migrations": (TWO, _notes, (), None),
    "indexes alone": (OF_INDEXES, lambda p: _notes(p, MINE, "ANALYZE"), (), None),
    "a few rows and an index": (OF_A_FEW_ROWS, lambda p: _notes(p, MINE, "ANALYZE"), (), None),
    "new, changed and repaired tables": (application(MADE_UP), lambda p: _made(p, *FAMILY), (), None),
    "a new table with rows goes": (
        application(MADE_UP), lambda p: _made(p, *FAMILY),
        ("INSERT INTO steps VALUES (5, 1, 'a')", "CREATE INDEX mine ON steps (name)"), 0,
    ),
    "rows that change where they are, and a mark": (LTMC, lambda p: LTMC.make_demo(p, 20) or p, (), None),
    "such rows, back": (LTMC, lambda p: LTMC.make_demo(p, 20) or p, (), 0),
    "a new table without rows goes": (application(MADE_UP), lambda p: _made(p, *FAMILY), (), 0),
}  # fmt: skip


@pytest.mark.parametrize(("app", "make", "since", "to_version"), CASES.values(), ids=CASES.keys())
def test_the_script_is_what_the_promotion_sends(folder, app, make, since, to_version):
    database = make(folder / "live.db")
    if to_version is not None:
        migrate(database, app)
    run_sql(database, *since)
    live = preflight(database, app, to_version=to_version)
    steps = [step for _, step in promotion_steps(live.plan, app.name)]
    sent = _sent(database, app, live.plan, live.state)
    assert len(sent) > 10
    assert _unmatched(steps, sent) == ([], [])


def test_rows_that_waited_come_back_as_the_script_says(folder):
    app = application(MADE_UP)
    database = _made(folder / "live.db", *FAMILY)
    migrate(database, app)
    run_sql(database, "INSERT INTO steps VALUES (5, 1, 'a')")
    migrate(database, app, to_version=0)
    live = preflight(database, app)
    steps = [step for _, step in promotion_steps(live.plan, app.name)]
    assert 'DROP TABLE "steps_ahead"' in [step.sql for step in steps]
    assert _unmatched(steps, _sent(database, app, live.plan, live.state)) == ([], [])


def test_the_text_runs_as_it_stands_and_does_what_the_promotion_does(folder):
    """Pasted into a shell on a copy: what stands in comments is not needed here."""
    database = _notes(folder / "live.db")
    copy = folder / "copy.db"
    with closing(sqlite3.connect(copy)) as target, closing(sqlite3.connect(database)) as source:
        source.backup(target)
    text = promotion_script(live_plan(database), NOTES.name)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.executescript(text)
        pasted = (
            connection.execute("SELECT * FROM notes").fetchall(),
            connection.execute("SELECT * FROM notes_legacy").fetchall(),
        )
    migrate(database)
    with closing(sqlite3.connect(database)) as connection:
        assert pasted == (
            connection.execute("SELECT * FROM notes").fetchall(),
            connection.execute("SELECT * FROM notes_legacy").fetchall(),
        )


def live_plan(database):
    return preflight(database, NOTES, only_look=True).plan


def test_the_text_is_the_same_each_time_and_says_what_the_run_adds(folder):
    database = _notes(folder / "live.db")
    text = promotion_script(live_plan(database), NOTES.name)
    assert text == promotion_script(live_plan(database), NOTES.name)
    assert text.startswith("-- applies, in one transaction:\n--   0001_stars\n-- What would")
    for line in (
        "PRAGMA foreign_keys=0;",
        "BEGIN IMMEDIATE;",
        "-- table notes",
        "-- only where no row has an original to keep:",
        '--   DROP TABLE "notes_legacy"',
        'ALTER TABLE "_mig_notes" RENAME TO "notes";',
        "CREATE INDEX notes_mood ON notes(mood);",
        "-- the ledger; what stands in <>, and seconds and rows, 0 here, only the run knows",
        "COMMIT;",
    ):
        assert line in text.splitlines(), line
    assert "VALUES ('notes', '0001_stars', '<now>')" in text
    assert "'<run>', '<backup>', 0.0, 0, '<now>')" in text


def test_a_comment_at_the_end_of_a_statement_does_not_swallow_the_semicolon(folder):
    app = notes_application(migration(Change("made", after="CREATE TABLE made (a) -- the end")))
    database = _notes(folder / "live.db")
    text = promotion_script(preflight(database, app, only_look=True).plan, app.name)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript(text)
        assert connection.execute("SELECT count(*) FROM made").fetchone() == (0,)
