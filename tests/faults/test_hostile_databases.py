"""A database made to do harm is refused with a clear error or carried over, and nothing outside its folder changes."""

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import struct
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrator import ddl
from migrator.application import Application
from migrator.backup import back_up
from migrator.connect import opened
from migrator.ddl import quote
from migrator.errors import MigratorError, RefusedError
from migrator.inspection import inspect, integrity_faults
from migrator.lock import locked
from migrator.migration import Change, Migration
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.removal import temporary_objects
from migrator.restoration import discard, recover, restore
from migrator.return_to_backup import return_to_backup
from tests.children import killed_in
from tests.notes import COUNT_GOOD, NOTES, READ_NOTES, TARGET_COLUMNS, change, make_notes, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    backed_up,
    columns,
    end_of_run,
    is_sound,
    live_of,
    migrate,
    prove,
    rehearse,
    rows,
    run_sql,
)

WAYS = {"one transaction": PLENTY_MS, "online": 0.001}
BOUND_S, BOUND_BYTES = 30, 1 << 30
READ_ONLY_NOTES = notes_application(migration(change(behaviours=()), tools=()), probes=(READ_NOTES, COUNT_GOOD))
"""For triggers that no insert gets past, neither the application's nor a tool's."""


@pytest.fixture
def database():
    """In a folder beside which precious things lie, in memory where the machine has some."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        around = Path(name)
        (around / "app").mkdir()
        (around / "precious").write_text("precious")
        (around / "dropped").mkdir()
        make_notes(around / "other.db", rows=1)
        make_notes(around / "app" / "notes.db", rows=20)
        yield around / "app" / "notes.db"


def outside(database):
    """Everything beside the folder of the database: names, content, mode and time."""
    return {
        path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in database.parent.parent.rglob("*")
        if database.parent not in (path, *path.parents)
    }


def ended(database, application=NOTES, max_lock_ms=PLENTY_MS, tools=True):
    """How a run ends, as the flow would end it: `migrated`, or the class of an error and its text."""
    live = backup = inspected = None
    try:
        with locked(database):
            live = preflight(database, application)
            backup = back_up(live, max_lock_ms=max_lock_ms)
            inspected = inspect(backup)
            candidate = rehearse(backup)
            if tools:
                prove(candidate)
            end_of_run(candidate, max_lock_ms)
        return "migrated"
    except MigratorError as error:
        if live is not None and inspected is None and (backup or isinstance(error, RefusedError)):
            discard(database, live.directory)
        elif live is not None:
            restore(database, application, live.run_id, live.directory)
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"


def bounded(work, seconds=BOUND_S, size=BOUND_BYTES):
    """What `work` returns, in a process of its own that gets so much time and memory; says where it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            # What the test runner has loaded is not the run's.
            loaded = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (loaded + size, loaded + size))
            # The default action: also inside SQLite, which lets no handler of Python's in everywhere.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            answer = work()
        except BaseException as error:
            answer = f"raw {type(error).__name__}: {error}"
        os.write(writing, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else f"raw death by {signal.Signals(status & 0x7F).name}"


def attempt(database, way, application=NOTES, seconds=BOUND_S):
    """How a run of a crafted database ends; fails unless that is allowed and nothing outside was written."""
    before = outside(database)
    said = bounded(lambda: ended(database, application, WAYS[way]), seconds)
    assert outside(database) == before
    left = {path.name for path in database.parent.iterdir()}
    assert not said.startswith("raw"), said
    suffixes = ("", ".backups", ".migration-lock", "-wal", "-shm", "-journal")
    assert left <= {f"notes.db{suffix}" for suffix in suffixes}
    if said == "migrated":
        assert columns(database) == TARGET_COLUMNS
        with opened(database, read_only=True) as connection:
            assert integrity_faults(connection) == []
    return said


def write_schema(database, *statements):
    """Writes sqlite_master itself, and moves the cookie so that everybody reads it again."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=1")
        for statement in statements:
            connection.execute(statement)
        cookie = connection.execute("PRAGMA schema_version").fetchone()[0]
        connection.execute(f"PRAGMA schema_version={cookie + 1}")


# Names that end a statement, a name or a comment where they are not quoted.

ODD = 'x"; DROP TABLE y; --'


def odd(what):
    return quote(f"{what} {ODD}")


TABLE, KEY, BODY, MOOD = ODD, f"id {ODD}", f"body {ODD}", f"mood {ODD}"
COLUMNS = f"{quote(KEY)} INTEGER PRIMARY KEY AUTOINCREMENT, {quote(BODY)} TEXT NOT NULL, {quote(MOOD)} TEXT"
CHANGE = Change(
    TABLE,
    before=f"CREATE TABLE {quote(TABLE)} ({COLUMNS})",
    after=f"CREATE TABLE {quote(TABLE)} ({COLUMNS} CHECK ({quote(MOOD)} <> ''), {odd('new')} INTEGER UNIQUE)",
    values={MOOD: f"lower({quote(MOOD)})"},
    indexes=(f"CREATE INDEX {odd('declared')} ON {quote(TABLE)} ({quote(MOOD)})",),
)
ODDLY_NAMED = Application(f"app {ODD}", (Migration((CHANGE,), version=1, name="odd"),), (), make_notes)
AROUND = (
    "CREATE TABLE y (z)",
    "INSERT INTO y VALUES ('precious')",
    f"CREATE TABLE {odd('child')} ({odd('of')} REFERENCES {quote(TABLE)} ({quote(KEY)}), {odd('said')} TEXT)",
    f"CREATE TABLE {odd('apart')} ({quote(BODY)} TEXT PRIMARY KEY, {odd('made')} AS (upper({quote(BODY)}))) "
    "WITHOUT ROWID",
    f"CREATE INDEX {odd('index')} ON {quote(TABLE)} ({quote(BODY)} COLLATE NOCASE)",
    f"CREATE INDEX {odd('index apart')} ON {odd('apart')} (lower({quote(BODY)}))",
    f"CREATE VIEW {odd('view')} AS SELECT {quote(BODY)} AS {odd('seen')} FROM {quote(TABLE)}",
    f"CREATE TRIGGER {odd('trigger')} AFTER INSERT ON {quote(TABLE)} "
    f"BEGIN INSERT INTO {odd('child')} VALUES (new.{quote(KEY)}, 'made'); END",
    f"CREATE TRIGGER {odd('inward')} INSTEAD OF INSERT ON {odd('view')} "
    f"BEGIN INSERT INTO {quote(TABLE)} ({quote(BODY)}) VALUES (new.{odd('seen')}); END",
    *(f"INSERT INTO {quote(TABLE)} ({quote(BODY)}, {quote(MOOD)}) VALUES ('{n}', 'GOOD')" for n in range(30)),
    f"INSERT INTO {odd('apart')} VALUES ('one'), ('two')",
    "ANALYZE",
)


@pytest.fixture
def oddly_named(database):
    database.unlink()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in (CHANGE.before, *AROUND):
            connection.execute(statement)
    return database


def neighbours(database):
    """What the migration does not name: all statements but the table's and its new index's, all rows."""
    found = {}
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        query = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY 1, 2"
        for kind, name, sql in connection.execute(query).fetchall():
            ours = (TABLE, f"{TABLE}_legacy", f"declared {ODD}", "idx__sqlite_migrations_migration_set_name")
            if name not in ours and not name.startswith("sqlite_"):
                is_table = kind == "table"
                held = connection.execute(f"SELECT * FROM {quote(name)}").fetchall() if is_table else None
                found[kind, name] = sql, held
    return found


@pytest.mark.parametrize("way", WAYS)
def test_names_that_end_a_statement_go_forth_and_back_unharmed(oddly_named, way):
    before, kept = holds_oddly(oddly_named), neighbours(oddly_named)
    assert len(kept) == 8 and kept["table", "y"][1] == [("precious",)]
    done = migrate(oddly_named, ODDLY_NAMED, max_lock_ms=WAYS[way])
    assert done.strategy == way.replace(" ", "_")
    assert neighbours(oddly_named) == kept and is_sound(oddly_named)
    assert columns_oddly(oddly_named) == [KEY, BODY, MOOD, f"new {ODD}"]
    moods = f"SELECT DISTINCT {quote(MOOD)} FROM {quote(TABLE)}"
    assert rows(oddly_named, moods) == [("good",)]
    migrate(oddly_named, ODDLY_NAMED, max_lock_ms=WAYS[way], to_version=0)
    assert neighbours(oddly_named) == kept and holds_oddly(oddly_named) == before


def columns_oddly(database):
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (TABLE,))]


def holds_oddly(database):
    return rows(database, f"SELECT * FROM {quote(TABLE)}"), columns_oddly(database)


@pytest.mark.parametrize("rows_at_once", [10_000, 1])
def test_a_restore_finds_tables_whose_names_end_a_statement(oddly_named, monkeypatch, rows_at_once):
    monkeypatch.setattr("migrator.restoration._ROWS_AT_ONCE", rows_at_once)
    before, kept = holds_oddly(oddly_named), neighbours(oddly_named)
    live = live_of(promote(rehearse(backed_up(oddly_named, ODDLY_NAMED)), PLENTY_MS))
    assert restore(oddly_named, ODDLY_NAMED, live.run_id, live.directory).how == "reversed"
    assert holds_oddly(oddly_named) == before and neighbours(oddly_named) == kept


@pytest.mark.parametrize("phase", ["fill", "swapped"])
def test_the_next_start_finds_what_a_killed_run_left_under_such_names(oddly_named, monkeypatch, phase):
    before, kept = holds_oddly(oddly_named), neighbours(oddly_named)

    def run(say):
        from migrator import promotion

        online = promotion.promote_online

        def spoken(*given):
            if given[-1].__name__ != "no_progress":
                given = (*given[:-1], lambda done, total: (say("fill"), held_up() if phase == "fill" else None))
            found = online(*given)
            say("swapped")
            held_up()
            return found

        promotion.promote_online = spoken
        promote(rehearse(backed_up(oddly_named, ODDLY_NAMED)), 0.0, lambda done, total: None)

    assert killed_in(phase, 0, 0.0, run).killed
    with closing(sqlite3.connect(oddly_named)) as connection:
        assert len(temporary_objects(connection, ODDLY_NAMED)) >= 1
    how = recover(oddly_named, ODDLY_NAMED).how
    with closing(sqlite3.connect(oddly_named)) as connection:
        assert temporary_objects(connection, ODDLY_NAMED) == []
    assert how == ("unchanged" if phase == "fill" else "finished")
    assert neighbours(oddly_named) == kept and is_sound(oddly_named)
    assert (holds_oddly(oddly_named) == before) == (phase == "fill")


def held_up():
    signal.pause()


def test_an_order_to_go_back_writes_every_page_of_such_tables(oddly_named):
    before, kept = holds_oddly(oddly_named), neighbours(oddly_named)
    backup = migrate(oddly_named, ODDLY_NAMED).candidate.inspection.backup
    return_to_backup(oddly_named, backup.path, discard_later_writes=True)
    assert holds_oddly(oddly_named) == before and neighbours(oddly_named) == kept


# Objects that would do something when somebody looks at them.

UNHARMED = {
    "a view that loads an extension": ["CREATE VIEW v AS SELECT load_extension('{precious}') AS x FROM notes"],
    "a view that registers code": ["CREATE VIEW v AS SELECT fts3_tokenizer('simple', x'4141414141414141') AS x"],
    "a view of a missing function": ["CREATE VIEW v AS SELECT nosuch(id) FROM notes"],
    "views in a ring": ["CREATE VIEW a AS SELECT * FROM b", "CREATE VIEW b AS SELECT * FROM a"],
    "a view without end": [
        "CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n"
    ],
    "64 views on each other": [
        "CREATE VIEW v0 AS SELECT * FROM notes",
        *(f"CREATE VIEW v{n + 1} AS SELECT * FROM v{n}" for n in range(64)),
    ],
    "pragmas as tables": ["CREATE VIEW v AS SELECT * FROM pragma_database_list, pragma_table_info('notes')"],
    "a default that loads an extension": ["CREATE TABLE t (x DEFAULT (load_extension('{precious}')))"],
    "a constraint that registers code": [
        "CREATE TABLE t (x CHECK (1 OR fts3_tokenizer('simple', x'4141414141414141')))",
        "INSERT INTO t VALUES (1)",
    ],
    "full-text tables with odd options": [
        "CREATE VIRTUAL TABLE f USING fts5(x, content='nosuch')",
        "CREATE VIRTUAL TABLE g USING fts4(x, content='{precious}')",
        "CREATE VIRTUAL TABLE h USING fts5(x, content='')",
        "CREATE VIRTUAL TABLE i USING fts5(x, content='sqlite_master', content_rowid='rootpage')",
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
        "CREATE VIRTUAL TABLE s USING dbstat",
    ],
    "a trigger called like two statements": [
        'CREATE TRIGGER "t\nSELECT 1; DROP TABLE tags; SELECT 1" AFTER INSERT ON notes BEGIN SELECT 1; END'
    ],
    "1,960 columns": [
        f"CREATE TABLE wide ({', '.join(f'c{n}' for n in range(1960))})",
        "INSERT INTO wide (c1) VALUES (1)",
    ],
    "a comment of 400 kB": ["CREATE TABLE t (x /*" + "[ \"'" * 100_000 + "*/)"],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", UNHARMED)
def test_what_would_do_harm_when_it_is_used_is_carried_over_unused(database, what, way):
    statements = [s.replace("{precious}", os.fspath(database.parent.parent / "precious")) for s in UNHARMED[what]]
    run_sql(database, *statements)
    before = [row for row in master(database) if row[1] != "notes"]
    assert attempt(database, way) == "migrated"
    assert [row for row in master(database) if row[1] in {name for _, name, _ in before}] == before


def master(database):
    return rows(database, "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY 1, 2")


ON_INSERT = {
    "loads an extension": ("SELECT load_extension('x')", "unsafe use of load_extension"),
    "registers code": ("SELECT fts3_tokenizer('simple', x'4141414141414141')", "unsafe use of fts3_tokenizer"),
    "writes the schema": ("INSERT INTO sqlite_master (name) VALUES ('x')", "may not be modified"),
    "moves a mark": ("DELETE FROM sqlite_sequence", ""),
    "empties the table": ("DELETE FROM notes", ""),
    "empties another": ("DELETE FROM tags", ""),
    "raises": ("SELECT RAISE(ROLLBACK, 'gone')", "gone"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ON_INSERT)
def test_a_trigger_that_does_harm_does_none_while_the_table_is_migrated(database, what, way):
    action, fault = ON_INSERT[what]
    for table in ("notes", "tags"):
        for event in ("INSERT", "UPDATE", "DELETE"):
            name = f"{event} {table}"
            run_sql(database, f'CREATE TRIGGER "{name}" AFTER {event} ON {table} BEGIN {action}; END')
    kept = rows(database, "SELECT id, body FROM notes"), rows(database, "SELECT * FROM tags")
    mark = rows(database, "SELECT * FROM sqlite_sequence")
    assert attempt(database, way, READ_ONLY_NOTES).startswith(("migrated", "RehearsalError"))
    assert (rows(database, "SELECT id, body FROM notes"), rows(database, "SELECT * FROM tags")) == kept
    assert rows(database, "SELECT * FROM sqlite_sequence") == mark
    if fault:
        with pytest.raises(sqlite3.Error, match=fault):
            run_sql(database, "INSERT INTO notes (body, mood) VALUES ('x', 'good')")


# Rows of sqlite_master that no statement makes.

BIG = "WHERE name = 'big'"
CRAFTED = {
    "sql cut short": f"UPDATE sqlite_master SET sql = 'CREATE TABLE big (' {BIG}",
    "no sql": f"UPDATE sqlite_master SET sql = NULL {BIG}",
    "empty sql": f"UPDATE sqlite_master SET sql = '' {BIG}",
    "another table's sql": f"UPDATE sqlite_master SET sql = 'CREATE TABLE other (x)' {BIG}",
    "no UTF-8": f"UPDATE sqlite_master SET sql = CAST(x'435245415445205441424c452062696720282278ff2229' AS TEXT) {BIG}",
    "no name": f"UPDATE sqlite_master SET name = NULL {BIG}",
    "an unknown type": f"UPDATE sqlite_master SET type = 'oops' {BIG}",
    "root page 0": f"UPDATE sqlite_master SET rootpage = 0 {BIG}",
    "root page 1": f"UPDATE sqlite_master SET rootpage = 1 {BIG}",
    "a root page beyond the file": f"UPDATE sqlite_master SET rootpage = 99999999 {BIG}",
    "a negative root page": f"UPDATE sqlite_master SET rootpage = -5 {BIG}",
    "another table's root page": "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE "
    f"name = 'tags') {BIG}",
    "the migrated table's root page is another's": "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM "
    "sqlite_master WHERE name = 'tags') WHERE name = 'notes'",
    "an index's root page is a table's": "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master "
    "WHERE name = 'tags') WHERE name = 'by_x'",
    "an index's root page is its table's": "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master "
    "WHERE name = 'notes') WHERE name = 'by_body'",
    "one table twice": f"INSERT INTO sqlite_master SELECT * FROM sqlite_master {BIG}",
    "the migrated table twice": "INSERT INTO sqlite_master SELECT * FROM sqlite_master WHERE name = 'notes'",
    "a table more than once in the page": "UPDATE sqlite_master SET rootpage = 2 WHERE rootpage > 2",
    "a nul after the migrated table": "UPDATE sqlite_master SET sql = sql || char(0) || ', x' WHERE name = 'notes'",
}


def with_big(database):
    run_sql(
        database,
        "CREATE TABLE big (x)",
        "INSERT INTO big VALUES (1)",
        "CREATE INDEX by_x ON big (x)",
        "CREATE INDEX by_body ON notes (body)",
    )


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_schema_is_refused_and_left_to_the_byte(database, what):
    with_big(database)
    write_schema(database, CRAFTED[what])
    before = database.read_bytes()
    # The other way switches to WAL, and back, before it reads a row.
    assert attempt(database, "one transaction").startswith(("RefusedError", "DdlError"))
    assert database.read_bytes() == before
    assert {path.name for path in database.parent.iterdir()} <= {"notes.db", "notes.db.migration-lock"}


CARRIED_OVER = {
    "a computed column of a missing function": "CREATE TABLE big (x, y AS (nosuch(x)))",
    "a constraint of a missing function": "CREATE TABLE big (x CHECK (nosuch(x)))",
    "a constraint that loads an extension": "CREATE TABLE big (x CHECK (load_extension(x)))",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", CARRIED_OVER)
def test_a_table_that_nobody_can_use_is_carried_over(database, what, way):
    run_sql(database, "CREATE TABLE big (x)", "INSERT INTO big VALUES ('{precious}')")
    write_schema(database, f"UPDATE sqlite_master SET sql = '{CARRIED_OVER[what]}' {BIG}")
    assert attempt(database, way) == "migrated"


@pytest.mark.parametrize("module", ["csv(filename=''/etc/passwd'')", "nosuch(x)", "generate_series"])
def test_a_table_of_a_missing_module_is_carried_over(database, module):
    sql = f"CREATE VIRTUAL TABLE v USING {module}"
    write_schema(database, f"INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, '{sql}')")
    assert attempt(database, "online") == "migrated"


@pytest.mark.parametrize("column", ["type", "name", "sql"])
def test_a_schema_that_is_no_text_is_refused(database, column):
    with_big(database)
    write_schema(database, f"UPDATE sqlite_master SET {column} = CAST({column} AS BLOB) {BIG}")
    attempt(database, "one transaction")


@pytest.mark.parametrize("name", ["tagged", "bodies"])
def test_a_nul_in_the_text_of_a_trigger_or_view_is_refused(database, name):
    write_schema(database, f"UPDATE sqlite_master SET sql = sql || char(0) || 'x' WHERE name = '{name}'")
    attempt(database, "online")


def test_brackets_behind_a_nul_take_no_time(database):
    with_big(database)
    write_schema(database, f"UPDATE sqlite_master SET sql = sql || char(0) || '{'[' * 100_000}' {BIG}")
    attempt(database, "one transaction")


def test_a_default_of_10_mb_takes_no_more_memory_than_a_few_copies(database):
    run_sql(database, f"CREATE TABLE big (x DEFAULT '{'y' * 10_000_000}')")
    attempt(database, "one transaction")


def test_a_long_schema_of_other_tables_is_not_read_word_by_word_under_the_lock(database, monkeypatch):
    run_sql(database, f"CREATE TABLE big (x CHECK (x IN ({', '.join(['1'] * 30_000)})))")
    candidate, tokens, read = rehearse(backed_up(database)), ddl.tokens, []

    def noting(sql):
        read.append(len(sql))
        return tokens(sql)

    monkeypatch.setattr(ddl, "tokens", noting)
    promote(candidate, PLENTY_MS)
    assert max(read, default=0) < 30_000


@pytest.mark.parametrize("count", [1980, 2000])
def test_as_many_columns_as_sqlite_takes_are_copied(database, count):
    run_sql(database, f"CREATE TABLE wide ({', '.join(f'c{n}' for n in range(count))})")
    attempt(database, "one transaction")


def test_views_that_double_each_other_end_in_bounded_time(database):
    run_sql(
        database,
        "CREATE VIEW v0 AS SELECT id FROM notes",
        *(f"CREATE VIEW v{n + 1} AS SELECT a.id FROM v{n} AS a, v{n} AS b" for n in range(40)),
    )
    attempt(database, "one transaction", seconds=2)


def test_a_full_text_table_over_a_view_without_end_ends_in_bounded_time(database):
    run_sql(
        database,
        "CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS rowid, x FROM n",
        "CREATE VIRTUAL TABLE f USING fts5(x, content='v')",
    )
    attempt(database, "one transaction", seconds=2)


# Bytes.

SEEDS = 200


def flipped(content, seed):
    """The file with a few bytes changed: in the header, in the schema's page, or anywhere."""
    chance, data = random.Random(seed), bytearray(content)
    start, end = [(16, 100), (100, 4096), (4096, len(data)), (0, len(data))][seed % 4]
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[chance.randrange(start, end)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(data)


def test_any_flipped_bytes_end_in_a_clear_error_or_a_migration_that_verifies(database):
    content, before = database.read_bytes(), outside(database)
    batches = [range(first, SEEDS, 4) for first in range(4)]

    def batch(seeds):
        found = []
        for seed in seeds:
            for path in database.parent.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            database.write_bytes(flipped(content, seed))
            way = "online" if seed % 3 == 0 else "one transaction"
            found.append(ended(database, max_lock_ms=WAYS[way], tools=seed % 10 == 0))
        return found

    said = [answer for seeds in batches for answer in bounded(lambda seeds=seeds: batch(seeds), 60)]
    assert len(said) == SEEDS
    assert outside(database) == before
    kinds = Counter(answer.partition(":")[0] for answer in said)
    known = ("raw UnicodeDecodeError: 'utf-8' codec can't decode byte", "raw OperationalError: attached databases must")
    assert [answer for answer in said if answer.startswith("raw") and not answer.startswith(known)] == []
    # Some are in places that mean nothing, or in a value; most are found.
    assert kinds["migrated"] > 10 and kinds["RefusedError"] > 30, kinds


@dataclass
class Header:
    """A field of the file's header (sqlite.org/fileformat.html)."""

    offset: int
    value: bytes


HEADERS = {
    "a page size of no power of two": Header(16, struct.pack(">H", 4097)),
    "pages of 64 KiB": Header(16, struct.pack(">H", 1)),
    "pages without room": Header(20, b"\xff"),
    "more pages than there are bytes": Header(28, struct.pack(">I", 0xFFFFFFFE)),
    "no pages": Header(28, struct.pack(">I", 0)),
    "a free list beyond the file": Header(32, struct.pack(">II", 0x7FFFFFFF, 0x7FFFFFFF)),
    "a schema of the future": Header(44, struct.pack(">I", 99)),
    "an encoding that there is not": Header(56, struct.pack(">I", 9)),
    "a write version of the future": Header(18, b"\x09"),
    "a read version of the future": Header(19, b"\x09"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_crafted_header_ends_in_bounded_time_and_memory(database, what):
    data, field = bytearray(database.read_bytes()), HEADERS[what]
    data[field.offset : field.offset + len(field.value)] = field.value
    database.write_bytes(data)
    started = time.monotonic()
    attempt(database, "one transaction")
    assert time.monotonic() - started < BOUND_S


def test_a_file_that_says_it_is_a_terabyte_is_refused_for_want_of_room(database):
    os.truncate(database, 1 << 40)
    data = struct.pack(">I", (1 << 40) // 4096)
    with database.open("r+b") as file:
        file.seek(28)
        file.write(data)
    assert "bytes free, the migration of notes.db needs" in attempt(database, "one transaction")


def hot_journal(database, names):
    """A rollback journal of one page, as a writer leaves it that died in a transaction over several databases."""
    page, magic, nonce, name = database.read_bytes()[:4096], bytes.fromhex("d9d505f920a163d7"), 7, os.fsencode(names)
    checksum = (nonce + sum(page[at] for at in range(4096 - 200, 0, -200))) & 0xFFFFFFFF
    header = (magic + struct.pack(">IIIII", 1, nonce, database.stat().st_size // 4096, 512, 4096)).ljust(512, b"\0")
    record = struct.pack(">I", 1) + page + struct.pack(">I", checksum)
    end = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    database.with_name("notes.db-journal").write_bytes(header + record + end)


def test_a_broken_object_whose_name_is_no_text_is_refused(database):
    with_big(database)
    write_schema(database, f"UPDATE sqlite_master SET name = CAST(x'62ff' AS TEXT), sql = 'CREATE TABLE (' {BIG}")
    attempt(database, "one transaction")


def test_an_encoding_that_sqlite_takes_for_none_is_refused(database):
    data = bytearray(database.read_bytes())
    data[56:60] = struct.pack(">I", 0x8700)
    database.write_bytes(data)
    attempt(database, "one transaction")


def test_a_crafted_hot_journal_removes_no_file_elsewhere(database):
    before = outside(database)
    hot_journal(database, database.parent.parent / "precious")
    bounded(lambda: ended(database))
    assert outside(database) == before
