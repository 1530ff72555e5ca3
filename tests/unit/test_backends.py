"""The claim under docs/backends.md: every backend is asked the same, answers the same and ends with the same rows."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from migrator.ltmc.probes import CATALOGUE, context
from tests.benchmarks.backends import dialects, in_duckdb, in_postgres, measuring, server
from tests.benchmarks.backends.crowd import at_once
from tests.benchmarks.backends.in_duckdb import Duckdb
from tests.benchmarks.backends.in_postgres import Postgres
from tests.benchmarks.backends.in_sqlite import Sqlite
from tests.benchmarks.backends.source import INDEXES, NAMES, Source
from tests.benchmarks.backends.statements import Recording, sent_by_tools
from tests.benchmarks.backends.tools import LOG_CHAT, TOOLS, Tool, call_as_the_application, call_kept, given

ROWS = 200
FILLED = "for_tests"
CALLED = [probe for probe in CATALOGUE if probe.call]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("source") / "source.db", ROWS)


@pytest.fixture(scope="module")
def sqlite(source, tmp_path_factory):
    backend = Sqlite(tmp_path_factory.mktemp("sqlite"), "wal")
    backend.fill(source, FILLED)
    return backend


@pytest.fixture(scope="module")
def postgres(source):
    if why := server.why_absent():
        pytest.skip(f"not compared here: {why}")
    # Nothing is measured here, and nobody misses the data after a power cut.
    with server.server("fsync=off") as running:
        backend = Postgres(running)
        backend.fill(source, FILLED)
        yield backend


@pytest.fixture(scope="module")
def duckdb(source, tmp_path_factory):
    if why := in_duckdb.why_absent():
        pytest.skip(f"not compared here: {why}")
    backend = Duckdb(tmp_path_factory.mktemp("duckdb"))
    backend.fill(source, FILLED)
    return backend


@pytest.fixture(params=["sqlite", "postgres", "duckdb"])
def backend(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["postgres", "duckdb"])
def elsewhere(request):
    return request.getfixturevalue(request.param)


def _asked(backend, name=FILLED):
    backend.start_from(name)
    with closing(backend.connect()) as connection:
        return given(connection)


def _called(backend, name=FILLED):
    """Tool: its answer, each called once in turn; then table: its rows."""
    asked, found = _asked(backend, name), {}
    with closing(backend.connect()) as connection:
        for tool in TOOLS:
            tool.first(connection)
            found[tool.name] = call_kept(connection, tool, asked)
        for table in NAMES:
            found[table] = connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
    return found


def _different(found, expected):
    """Names of answers that differ in a value or its type: 1, 1.0 and True are three."""
    told = [{name: repr(list(a) if isinstance(a, list) else a) for name, a in x.items()} for x in (found, expected)]
    return [name for name in expected if told[0][name] != told[1][name]]


def _texts(statements):
    return {" ".join(sql.split()) for sql in statements}


def _messages(backend):
    with closing(backend.connect()) as connection:
        return connection.execute("SELECT COUNT(*) FROM ChatHistory").fetchone()[0]


def test_every_tool_that_touches_the_database_is_measured():
    assert [tool.name for tool in TOOLS] == [probe.tool for probe in CALLED]


def test_every_statement_measured_is_one_of_the_tools_probe(sqlite):
    asked = _asked(sqlite)
    measured = sent_by_tools(sqlite.path, asked)
    with closing(sqlite3.connect(sqlite.path, factory=Recording)) as connection:
        for probe in CALLED:
            connection.sent.clear()
            probe.call(connection)
            connection.rollback()
            assert _texts(measured[probe.tool]) - _texts(connection.sent) == set(), probe.tool
            assert measured[probe.tool][0].startswith("CREATE TABLE IF NOT EXISTS Resources"), probe.tool


def test_every_backend_has_the_indexes_of_the_migration(backend):
    names = {
        Sqlite: "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        Postgres: "SELECT indexname FROM pg_indexes WHERE indexdef LIKE 'CREATE INDEX%' AND schemaname = 'public'",
        Duckdb: "SELECT index_name FROM duckdb_indexes() WHERE sql LIKE 'CREATE INDEX%'",
    }
    backend.start_from(FILLED)
    with closing(backend.connect()) as connection:
        found = {name for (name,) in connection.execute(names[type(backend)]).fetchall()}
    assert found == {index.split()[2] for index in INDEXES}


def test_a_measurement_starts_from_the_filled_database(backend):
    asked = _asked(backend)
    call_as_the_application(backend.connect, LOG_CHAT, asked)
    assert _messages(backend) == ROWS + 1
    backend.start_from(FILLED)
    assert _messages(backend) == ROWS


@pytest.mark.parametrize(("manner", "connections"), [(measuring.AS_THE_APPLICATION, 3), (measuring.KEPT, 1)])
def test_a_manner_makes_so_many_connections_for_three_calls(sqlite, manner, connections, monkeypatch):
    asked, made, connect = _asked(sqlite), [], sqlite.connect
    monkeypatch.setattr(sqlite, "connect", lambda: made.append(1) or connect())
    call, end = measuring.caller(sqlite, manner, asked)
    for _ in range(3):
        call(LOG_CHAT)
    end()
    assert len(made) == connections


def test_every_tool_answers_as_on_sqlite_and_leaves_the_same_rows(elsewhere, sqlite):
    expected = _called(sqlite)
    assert [name for name, answer in expected.items() if not answer] == ["Summaries"]
    assert _different(_called(elsewhere), expected) == []


def test_every_probe_holds_elsewhere_with_all_that_it_checks(elsewhere):
    elsewhere.start_from(FILLED)
    with closing(elsewhere.connect()) as connection:
        for probe in CALLED:
            probe.call(connection)
            connection.rollback()


@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, rule) for name in ("POSTGRES", "DUCKDB") for rule in getattr(dialects, name)],
    ids=lambda value: getattr(value, "breaks", value),
)
def test_without_any_of_the_rules_something_breaks(name, rule, request, sqlite, source, monkeypatch):
    backend = request.getfixturevalue(name.lower())
    module = in_postgres if name == "POSTGRES" else in_duckdb
    rules = tuple(other for other in getattr(dialects, name) if other is not rule)
    monkeypatch.setattr(module, name, rules)
    attempt = f"attempt_{getattr(dialects, name).index(rule)}"
    # Whatever it is that the driver raises.
    with pytest.raises(Exception):  # noqa: B017
        backend.fill(source, attempt)
        assert _different(_called(backend, attempt), _called(sqlite)) == []
        with closing(backend.connect()) as connection:
            # What no tool does with the demo data, but could.
            connection.execute("UPDATE CodePatterns SET execution_time_ms = 2147483648")
            assert connection.execute("SELECT id FROM RetrievalWeights WHERE beta = ?", (0.2,)).fetchall() == [(1,)]
            context.get_context_usage_statistics(connection)


def test_an_id_that_was_rolled_back_is_given_again_by_sqlite_only(backend):
    """Vector ids are row ids, and FAISS counts without gaps."""
    backend.start_from(FILLED)
    insert = "INSERT INTO VectorIdSequence (last_vector_id) VALUES (?)"
    with closing(backend.connect()) as connection:
        first = connection.execute(insert, (1,)).lastrowid
        connection.rollback()
        second = connection.execute(insert, (1,)).lastrowid
    assert second - first == (0 if isinstance(backend, Sqlite) else 1)


def test_postgresql_stores_no_nul(postgres):
    postgres.start_from(FILLED)
    with closing(postgres.connect()) as connection, pytest.raises(Exception, match="NUL"):
        connection.execute("UPDATE Todos SET title = ?", ("\0",))


def test_duckdb_refuses_a_second_process_even_one_that_only_reads(duckdb):
    duckdb.start_from(FILLED)
    second = f"import duckdb; duckdb.connect({str(duckdb.path)!r}, read_only=True)"
    with closing(duckdb.connect()):
        ended = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Could not set lock on file" in ended.stderr


@pytest.mark.parametrize("manner", [measuring.AS_THE_APPLICATION, measuring.KEPT])
def test_every_write_that_is_counted_is_there(backend, manner):
    asked = _asked(backend)
    before = _messages(backend)
    read, wrote = measuring.write_throughput(backend, asked, manner, writers=3, seconds=0.1)
    assert [bool(clock.took_ms) for clock in (read, *wrote)] == [True] * 4
    assert _messages(backend) - before == len(measuring.together(wrote).took_ms)


def test_an_offered_load_is_never_exceeded(sqlite):
    _, wrote = measuring.write_throughput(sqlite, _asked(sqlite), measuring.KEPT, 2, seconds=0.1, writes_a_second=40)
    assert [len(clock.took_ms) <= 1 + 20 * clock.ended_s for clock in wrote] == [True, True]


def test_a_tool_is_timed_beside_writers_and_its_failures_are_no_times(sqlite):
    asked = _asked(sqlite)
    broken = Tool("broken", lambda connection, given: connection.execute("SELECT * FROM NoSuchTable"))
    clocks = measuring.tool_latencies(sqlite, asked, measuring.KEPT, 2, 0.0, (LOG_CHAT, broken))
    assert [len(clock.took_ms) for clock in clocks.values()] == [measuring.LEAST_CALLS, 0]
    assert dict(clocks["broken"].errors) == {"OperationalError: no such table: NoSuchTable": measuring.LEAST_CALLS}
    assert _messages(sqlite) > ROWS + measuring.LEAST_CALLS


def test_percentiles_are_those_of_the_nearest_rank():
    clock = measuring.Clock()
    clock.took_ms = [4.0, 1.0, 3.0, 2.0]
    assert [clock.percentile(percent) for percent in (0, 25, 50, 95, 100)] == [1.0, 1.0, 2.0, 4.0, 4.0]


def test_a_client_that_fails_is_told_with_its_traceback():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        at_once(lambda stop: 1 / 0, [lambda stop: stop.wait()], in_one_process=False)
