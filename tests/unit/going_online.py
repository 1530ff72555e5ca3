"""Made-up migrations carried out online on a file, with the application's writes between the transactions."""

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from migrator.application import Application
from migrator.connect import opened
from migrator.ledger import Entry, record_applied, record_reversed
from migrator.migration import Answers, Change, Mapped, Migration
from migrator.one_transaction import in_one_transaction
from migrator.online import promote_online
from migrator.pace import Pace
from migrator.plan import Plan
from migrator.planning import make_plan
from migrator.preflight import read_state
from migrator.removal import remove_own
from tests.unit.migrating import NO_ANSWERS, cells, migration

Writes = str | Callable[[sqlite3.Connection], object] | Sequence[str]
LEDGER = ("_sqlite_migrations", "_migration_history")
JUST_BEFORE_THE_SWAP = "PRAGMA synchronous=3"


class Steady(Pace):
    """So many rows in every transaction, and no pauses."""

    def __init__(self, rows: int = 10) -> None:
        super().__init__(sleep=lambda _: None)
        self.rows = rows

    def held(self, seconds: float, rows: int) -> None:
        pass


def made(path: Path, *statements: str, journal_mode: str = "wal") -> Path:
    """A database file after `statements`; nothing of it has to survive a power cut."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    return path


def twin_of(path: Path) -> Path:
    """A copy of a database that nobody has open."""
    return Path(shutil.copyfile(path, path.with_name(f"twin of {path.name}")))


def write(connection: sqlite3.Connection, writes: Writes) -> None:
    if callable(writes):
        writes(connection)
        return
    for statement in [writes] if isinstance(writes, str) else writes:
        connection.execute(statement)


def applied(path: Path, *batches: Writes) -> None:
    """The application's writes, all after each other."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for writes in batches:
            write(connection, writes)


def application_of(*migrations: Migration) -> Application:
    return Application("made_up", migrations, (), lambda path, rows: None)


@contextmanager
def planned(path: Path, migrations: Iterable[Migration], answers: Answers = NO_ANSWERS, *, reverse: bool = False):
    """A connection, the application, the plan and the state that it was made for."""
    application = application_of(*migrations)
    with opened(path) as connection:
        # SQLite may be built so; a promotion sets by itself what it rests on.
        connection.execute("PRAGMA foreign_keys=ON")
        state = read_state(connection, application)
        given = {m.version: answers for m in application.migrations}
        yield connection, application, make_plan(application.migrations, state, given, reverse=reverse), state


def _ledger_of(plan: Plan):
    def write_ledger(connection: sqlite3.Connection, seconds: float, rows: int) -> None:
        if plan.reverse:
            record_reversed(connection, "made_up", plan.migrations, "run", "{}")
        else:
            entry = Entry("run", "backup", "{}", "{}", seconds, rows)
            record_applied(connection, "made_up", plan.migrations, plan.answers, entry)

    return write_ledger


def in_one(path: Path, *migrations: Migration, answers: Answers = NO_ANSWERS, reverse: bool = False):
    """The migrations in one transaction."""
    with planned(path, migrations, answers, reverse=reverse) as (connection, application, plan, state):
        return in_one_transaction(connection, application, plan, state, _ledger_of(plan))


def online(
    path: Path,
    *migrations: Migration,
    between: Sequence[Writes] = (),
    last: Writes = (),
    answers: Answers = NO_ANSWERS,
    reverse: bool = False,
    pace: Pace | None = None,
):
    """The migrations online; the application writes `between` the transactions and `last` just before the swap.

    What was the table is left. Fails where not all of the writes had their turn.
    """
    waiting = list(between)
    faults: list[Exception] = []
    had_the_last = []
    with (
        closing(sqlite3.connect(path, isolation_level=None, timeout=0.2)) as other,
        planned(path, migrations, answers, reverse=reverse) as (connection, application, plan, state),
    ):
        other.execute("PRAGMA synchronous=OFF")
        # It has read the schema before anything changes, as a connection of the application has.
        other.execute("SELECT count(*) FROM sqlite_master").fetchone()

        def on_progress(done: int, total: int) -> None:
            assert 0 <= done <= total
            if waiting:
                write(other, waiting.pop(0))

        def on_statement(statement: str) -> None:
            if statement == JUST_BEFORE_THE_SWAP and not had_the_last:
                had_the_last.append(True)
                try:
                    write(other, last)
                except Exception as error:
                    faults.append(error)

        connection.set_trace_callback(on_statement)
        try:
            result = promote_online(
                connection, application, plan, state, _ledger_of(plan), pace or Steady(), 0, on_progress
            )
        finally:
            connection.set_trace_callback(None)
        assert had_the_last and not faults, faults
    assert not waiting, f"{len(waiting)} batches had no turn"
    return result


def cleaned(path: Path, *migrations: Migration) -> Path:
    """The database without this tool's own objects."""
    with opened(path) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        remove_own(connection, application_of(*migrations), Steady())
    return path


def whole(path: Path) -> dict[str, object]:
    """Every statement of the schema letter by letter, every row with its rowid and types, all but the ledger."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        master = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        held: dict[str, object] = {"": [row for row in master if row[2] not in LEDGER]}
        for kind, name, _, _ in master:
            if kind == "table" and name.startswith("sqlite_"):
                held[name] = sorted(
                    (row for row in connection.execute(f"SELECT * FROM {name}") if row[0] not in LEDGER), key=repr
                )
            elif kind == "table" and name not in LEDGER:
                # The rowids of what this tool keeps itself mean nothing where the key has several columns.
                from_ = 1 if name.endswith(("_legacy", "_ahead")) else 0
                held[name] = sorted((row[from_:] for row in cells(connection, name)), key=repr)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return held


NOTES = """CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, -- what was said
    mood TEXT, place TEXT, code INTEGER UNIQUE)"""
NOTES_AFTER = """CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, stars INTEGER DEFAULT 3, body TEXT NOT NULL,
    mood TEXT CHECK (mood IN ('good', 'bad')), code INTEGER UNIQUE)"""
MOODS = Mapped("lower(mood)", {"good": ("good", "happy"), "bad": ("bad", "sad")})
STARS = migration(
    Change("notes", NOTES, NOTES_AFTER, values={"mood": MOODS}, indexes=("CREATE INDEX by_mood ON notes (mood)",))
)
FILL = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {rows}) INSERT INTO notes SELECT x, "
    "'note ' || x, CASE x % 4 WHEN 0 THEN 'good' WHEN 1 THEN 'Happy' WHEN 2 THEN 'bad' ELSE 'SAD' END, "
    "nullif('place ' || x, 'place 3'), x * 10 FROM n"
)
AROUND = (
    "CREATE INDEX by_body ON notes (body COLLATE NOCASE DESC, mood) WHERE body IS NOT NULL",
    'CREATE INDEX "od;d ""one" ON NOTES (lower(body))',
    "CREATE TABLE tags (note INTEGER REFERENCES notes (id) ON DELETE CASCADE, tag TEXT)",
    "INSERT INTO tags SELECT id, 'tag ' || id FROM notes",
    "CREATE VIEW bodies AS SELECT id, body FROM notes",
    "CREATE TRIGGER through INSTEAD OF INSERT ON bodies BEGIN INSERT INTO notes (body) VALUES (new.body); END",
    "CREATE TRIGGER tagged AFTER INSERT ON notes WHEN new.body = 'tag me' "
    "BEGIN INSERT INTO tags VALUES (new.id, 'automatic'); END",
    "CREATE TRIGGER untagged AFTER DELETE ON notes BEGIN DELETE FROM tags WHERE note = old.id; END",
    "CREATE TRIGGER echo AFTER DELETE ON tags BEGIN UPDATE notes SET body = 'untagged' WHERE id = old.note + 1; END",
    "ANALYZE",
)
WRITES = (
    "INSERT INTO notes (body, mood, code) VALUES ('early', 'SAD', -1)",
    "INSERT INTO notes (id, body, mood) VALUES (-7, 'below', 'good'), (0, 'zero', 'bad')",
    "DELETE FROM notes WHERE id IN (1, 2, 30)",
    ("UPDATE notes SET body = 'changed' WHERE id IN (3, 4, 50)", "UPDATE notes SET mood = 'happy' WHERE id % 5 = 0"),
    "UPDATE notes SET id = id + 1000 WHERE id IN (5, 60)",
    "UPDATE notes SET id = id - 1000 WHERE id > 1000",
    "UPDATE notes SET id = -id WHERE id BETWEEN 70 AND 90",
    ("UPDATE notes SET code = NULL WHERE id = 10", "UPDATE notes SET code = 100 WHERE id = 20"),
    # A value that goes round in a ring.
    (
        "UPDATE notes SET code = -9 WHERE id = 11",
        "UPDATE notes SET code = 110 WHERE id = 12",
        "UPDATE notes SET code = 120 WHERE id = 11",
    ),
    "REPLACE INTO notes (id, body, mood, code) VALUES (200, 'took two codes', 'Good', 130)",
    "INSERT INTO bodies (body) VALUES ('tag me')",
)
BURST = "UPDATE notes SET body = body || ' again', place = 'p' || id"


def notes(folder, *statements, rows=100, journal_mode="wal"):
    fill = (FILL.format(rows=rows),) if rows else ()
    return made(folder / "live.db", NOTES, *fill, *AROUND, *statements, journal_mode=journal_mode)


def check_forth(path, *migrations, between=(), last=(), rows=10, answers=NO_ANSWERS):
    """Online with writes between is what one transaction makes of a twin that had the same writes; the twin."""
    twin = twin_of(path)
    applied(twin, *between, last)
    in_one(twin, *migrations, answers=answers)
    online(path, *migrations, between=between, last=last, answers=answers, pace=Steady(rows))
    assert whole(cleaned(path, *migrations)) == whole(twin)
    return twin


NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 45) "


class Reader(Steady):
    """A connection that reads for as long as the swap was tried so many times."""

    def __init__(self, path, tries):
        super().__init__(50)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.tries, self.pauses, self.afterwards = tries, 0, "SELECT 1"

    def begin(self, _):
        self.connection.execute("BEGIN")
        self.connection.execute("SELECT count(*) FROM notes").fetchone()
        self.pauses = 0

    def pause(self):
        self.pauses += 1
        if self.pauses == self.tries and self.connection.in_transaction:
            self.connection.execute("COMMIT")
            self.connection.execute(self.afterwards)
