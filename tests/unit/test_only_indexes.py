"""A change that only makes or drops indexes leaves the table where it is: it takes as long as its indexes."""

import os
import re
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import pytest

from migrator.candidate import create_indexes, drop_indexes, stage
from migrator.check.status import look
from migrator.errors import NotOnlineError, PromotionError, RefusedError, RehearsalError, VerificationError
from migrator.inspection import inspect
from migrator.migration import Behaviour, Change
from migrator.one_transaction import in_one_transaction
from migrator.online import promote_online
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.restoration import recover
from migrator.verification import verify_live
from tests.children import await_more, errors, killed_after, lost, writing
from tests.notes import COUNT_GOOD, READ_NOTES, make_notes, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    backed_up,
    end_of_run,
    holds,
    live_of,
    migrate,
    prove,
    refusal,
    rehearsed,
    restored,
    rows,
    run_sql,
    stored,
    with_plan,
)
from tests.unit.going_online import planned

WAS, OTHER = "CREATE INDEX by_mood ON notes (mood)", "CREATE INDEX by_place ON notes (place)"
GOOD_FIRST = "CREATE INDEX by_mood ON notes (mood DESC, body)"
BY_BODY = "CREATE INDEX by_body ON notes (body)"
INDEXES = Change(
    "notes",
    indexes=(GOOD_FIRST, BY_BODY),
    drops=(WAS,),
    behaviours=(Behaviour("a body may be there twice", ("INSERT INTO notes (body, mood) VALUES ('note 1', 'good')",)),),
)
WAYS = [PLENTY_MS, 0.0]


def application(*changes, probes=(READ_NOTES, COUNT_GOOD)):
    versions = [migration(change, version=n, tools=()) for n, change in enumerate(changes, 1)]
    return notes_application(*versions, probes=probes)


APPLICATION = application(INDEXES)


@pytest.fixture
def database(folder: Path) -> Path:
    path = folder / "live.db"
    make_notes(path)
    run_sql(path, WAS, OTHER, "ANALYZE")
    return path


def indexes(path: Path) -> list[str]:
    query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'notes' AND sql > '' ORDER BY name"
    return [sql for (sql,) in rows(path, query)]


def sent(path: Path, app, *, reverse=False, version=1) -> list[str]:
    """Every statement of the promotion that writes anything but the ledger."""
    found: list[str] = []
    with planned(path, app.migrations, reverse=reverse) as (connection, made_up, plan, state):
        connection.set_trace_callback(found.append)
        in_one_transaction(connection, made_up, plan, state, lambda *_: None)
        connection.set_trace_callback(None)
    return [sql for sql in found if re.match("CREATE|DROP|INSERT|UPDATE|DELETE|REPLACE|ALTER", sql)]


def test_nothing_but_the_indexes_is_written_forth_and_back(database):
    forth = ['DROP INDEX "by_mood"', GOOD_FIRST, BY_BODY]
    assert look(database, APPLICATION, PLENTY_MS).plan.statements == tuple(forth)
    assert sent(database, APPLICATION) == forth
    back = ['DROP INDEX "by_mood"', 'DROP INDEX "by_body"', WAS]
    with planned(database, APPLICATION.migrations, reverse=True) as (_, _, plan, _):
        assert plan.statements == tuple(back)


@pytest.mark.parametrize("max_lock_ms", WAYS)
def test_there_and_back_is_what_was_there_whichever_way(database, max_lock_ms):
    before = holds(database)
    done = migrate(database, APPLICATION, max_lock_ms=max_lock_ms)
    assert (done.strategy, done.rows) == (("online", 100) if max_lock_ms == 0 else ("one_transaction", 0))
    assert indexes(database) == [BY_BODY, GOOD_FIRST, OTHER]
    query = "EXPLAIN QUERY PLAN SELECT id FROM notes WHERE body = 'note 7'"
    assert [row[3] for row in rows(database, query)] == ["SEARCH notes USING COVERING INDEX by_body (body=?)"]
    assert look(database, APPLICATION, PLENTY_MS).drift == ()
    migrate(database, APPLICATION, to_version=0, max_lock_ms=max_lock_ms)
    now = holds(database)
    gathered = [row for row in before.pop("sqlite_stat1") if row[1] != b"by_mood"]
    # What the planner knew of an index goes with it.
    assert now.pop("sqlite_stat1") == gathered
    assert {name: now[name] for name in before if name != "schema"} == {n: before[n] for n in before if n != "schema"}
    assert indexes(database) == [WAS, OTHER]


def test_a_rehearsal_makes_no_other_table_and_compares_the_rows_by_their_hash(database, monkeypatch):
    for name in ("rebuild.take_place", "row_comparison._row_differences", "tools.take_place"):
        monkeypatch.setattr(f"migrator.{name}", None)
    candidate = rehearsed(database, APPLICATION)
    assert candidate.findings == ()
    prove(candidate)
    assert end_of_run(candidate).strategy == "one_transaction"


@pytest.mark.parametrize("rows_there", [100, 0])
@pytest.mark.parametrize(("predicted_s", "way"), [(59.9, "one_transaction"), (60.1, "online")])
def test_a_table_is_made_anew_beside_only_where_its_indexes_would_take_longer_than_the_limit(
    database, predicted_s, way, rows_there
):
    run_sql(database, f"DELETE FROM notes WHERE id > {rows_there}")
    candidate = rehearsed(database, APPLICATION)
    assert candidate.rows == rows_there
    assert promote(replace(candidate, rebuild_s=predicted_s), PLENTY_MS).strategy == way


def test_nothing_is_asked_of_rows_but_what_an_index_that_is_made_needs(folder):
    path = folder / "live.db"
    run_sql(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, a NOT NULL UNIQUE, b)")
    unique = application(Change("t", indexes=("CREATE INDEX i ON t (a)", "CREATE UNIQUE INDEX u ON t (b)")))
    (table,) = preflight(path, unique).plan.tables
    assert ([found.index for found, _ in table.duplicates], table.missing, table.unmapped) == (["u"], (), ())


UNIQUE = {
    "a column": (
        "CREATE UNIQUE INDEX u ON notes (mood)",
        "mood of notes must be unique (index u), but 4 values stand",
    ),
    "several": (
        "CREATE UNIQUE INDEX u ON notes (mood, length(body))",
        "mood and length(body) of notes must be unique (index u), but 8 values stand in several rows: ('Happy', 6)",
    ),
    "a collation": (
        "CREATE UNIQUE INDEX u ON notes (place COLLATE NOCASE DESC)",
        "place COLLATE NOCASE of notes must be unique (index u), but 1 values stand in several rows: 'PLACE 1' (2",
    ),
    "an expression": (
        "CREATE UNIQUE INDEX u ON notes (substr(notes.body, 6, 2) ASC) WHERE notes.id > 50",
        "substr(notes.body, 6, 2) of notes must be unique (index u), but 1 values stand in several rows: '99' (2 "
        "rows); make them differ",
    ),
}


@pytest.mark.parametrize(("sql", "message"), UNIQUE.values(), ids=UNIQUE)
def test_a_unique_index_that_rows_break_is_refused_at_inspection_with_their_count(database, sql, message):
    run_sql(
        database,
        "UPDATE notes SET place = 'PLACE 1' WHERE id = 3",
        "UPDATE notes SET body = 'note 99 too' WHERE id = 98",
    )
    before = stored(database)
    assert message in str(refusal(database, application(Change("notes", indexes=(sql,)))))
    assert stored(database) == before


@pytest.mark.parametrize("kind", UNIQUE)
def test_no_option_is_offered_that_the_migration_does_not_have(database, kind):
    run_sql(database, "UPDATE notes SET place = 'PLACE 1', body = 'note 99 too' WHERE id IN (3, 98)")
    assert refusal(database, application(Change("notes", indexes=(UNIQUE[kind][0],)))).way_out == "make them differ"


def test_nulls_and_rows_outside_of_its_condition_do_not_count_for_a_unique_index(database):
    unique = ("CREATE UNIQUE INDEX u ON notes (place)", "CREATE UNIQUE INDEX few ON notes (mood) WHERE id < 5")
    once = Behaviour(
        "a place once", ("INSERT INTO notes (body, mood, place) VALUES ('b', 'm', 'place 1')",), "notes.place"
    )
    migrate(database, application(Change("notes", indexes=unique, behaviours=(once,))))
    assert indexes(database)[-1] == unique[0]


def test_rows_that_an_earlier_migration_of_the_run_makes_alike_are_counted_too(database):
    alike = Change("notes", values={"place": "'here'"}, where="id < 4", originals="n", ahead="m")
    before = stored(database)
    with pytest.raises(RefusedError, match=r"place of notes must be unique \(index u\), but 1 .* 'here' \(3 rows\)"):
        rehearsed(database, application(alike, Change("notes", indexes=("CREATE UNIQUE INDEX u ON notes (place)",))))
    assert stored(database) == before


def test_a_unique_index_that_a_later_migration_of_the_run_drops_is_not_asked_for(database):
    unique = "CREATE UNIQUE INDEX u ON notes (mood)"
    given_up = application(Change("notes", indexes=(unique,)), Change("notes", drops=(unique,), indexes=(BY_BODY,)))
    assert "index u" in str(refusal(database, given_up, to_version=1))
    migrate(database, given_up)
    assert indexes(database) == [BY_BODY, WAS, OTHER]
    migrate(database, given_up, to_version=0)
    assert indexes(database) == [WAS, OTHER]


@pytest.mark.parametrize("max_lock_ms", WAYS)
def test_alike_rows_that_were_written_since_the_backup_are_told_and_nothing_is_changed(database, max_lock_ms):
    unique = application(Change("notes", indexes=("CREATE UNIQUE INDEX u ON notes (body)",), drops=(WAS,)))
    candidate = rehearsed(database, unique)
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('note 1', 'sad')")
    before = holds(database)
    with pytest.raises(PromotionError, match="written since the backup"):
        promote(candidate, max_lock_ms)
    restored(database, candidate.inspection.backup.live)
    assert holds(database) == before


def test_a_unique_column_that_sqlite_computes_is_no_reason_to_refuse(folder):
    path, table = folder / "live.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a, twice AS (a * 2) UNIQUE)"
    run_sql(path, table, "INSERT INTO t VALUES (1, 1), (2, 2)")
    index = "CREATE UNIQUE INDEX u ON t (twice + 1)"
    changes = Change("t", table, table.replace("a,", "a, b,")), Change("t", indexes=(index,))
    migrate(path, application(*changes, probes=()))
    assert rows(path, "SELECT * FROM t") == [(1, 1, None, 2), (2, 2, None, 4)]


@pytest.mark.parametrize("max_lock_ms", WAYS)
@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_name_of_an_index_that_goes_may_be_taken_by_another_tables(folder, rebuilt, max_lock_ms):
    path, t, u = folder / "live.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "CREATE TABLE u (b)"
    on_t, on_u = "CREATE INDEX i ON t (a)", "CREATE INDEX i ON u (b)"
    run_sql(path, t, u, on_t, "INSERT INTO t VALUES (1, 2)", "INSERT INTO u VALUES (3)")
    form = {"t": (t, t.replace("a)", "a, n)")), "u": (u, u.replace("b)", "b, n)"))} if rebuilt else {"t": (), "u": ()}
    app = application(Change("t", *form["t"], drops=(on_t,)), Change("u", *form["u"], indexes=(on_u,)), probes=())
    texts = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('t', 'u')"
    migrate(path, app, max_lock_ms=max_lock_ms)
    assert (rows(path, texts), rows(path, "PRAGMA integrity_check")) == ([(on_u,)], [("ok",)])
    migrate(path, app, to_version=0, max_lock_ms=max_lock_ms)
    assert (rows(path, texts), rows(path, "PRAGMA integrity_check")) == ([(on_t,)], [("ok",)])
    assert (rows(path, "SELECT * FROM t"), rows(path, "SELECT * FROM u")) == ([(1, 2)], [(3,)])


QUALIFIED = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, CHECK (t.a > 0))"
BY_B = "CREATE INDEX i ON t (b) WHERE t.a > 1"


def test_a_table_whose_text_writes_its_own_name_before_a_column_may_still_change_its_indexes(folder):
    path, app = folder / "live.db", application(Change("t", indexes=(BY_B,)), probes=())
    run_sql(path, QUALIFIED, "INSERT INTO t VALUES (1, 2, 3)")
    texts = "SELECT sql FROM sqlite_master WHERE tbl_name = 't'"
    assert migrate(path, app).strategy == "one_transaction"
    assert (rows(path, texts), rows(path, "SELECT * FROM t")) == ([(QUALIFIED,), (BY_B,)], [(1, 2, 3)])
    migrate(path, app, to_version=0)
    assert (rows(path, texts), rows(path, "SELECT * FROM t")) == ([(QUALIFIED,)], [(1, 2, 3)])


def test_such_a_table_cannot_be_made_anew_beside_the_application_and_that_is_said(folder):
    path = folder / "live.db"
    run_sql(path, QUALIFIED, "INSERT INTO t VALUES (1, 2, 3)")
    candidate = rehearsed(path, application(Change("t", indexes=(BY_B,)), probes=()))
    before = holds(path)
    with pytest.raises(NotOnlineError) as refused:
        promote(candidate, 0.0)
    assert str(refused.value) == (
        "'CHECK (t.a > 0)' of table t names a column as t.column, which a rebuild of the table cannot keep; live "
        "unchanged; allow a longer lock with --max-lock-ms at a quiet hour"
    )
    restored(path, candidate.inspection.backup.live)
    assert holds(path) == before


def test_changes_of_indexes_keep_nothing_and_need_no_names_of_tables_for_that(database):
    moods = Change("notes", values={"mood": "lower(mood)"}, where="mood <> lower(mood)")
    app = application(moods, INDEXES, Change("notes", drops=(BY_BODY,)))
    migrate(database, app, to_version=1)
    kept = rows(database, "SELECT * FROM notes_legacy")
    assert len(kept) == 50
    migrate(database, app)
    migrate(database, app, to_version=1)
    assert rows(database, "SELECT * FROM notes_legacy") == kept
    assert rows(database, "SELECT DISTINCT mood FROM notes ORDER BY 1") == [("bad",), ("good",), ("happy",), ("sad",)]
    assert indexes(database) == [WAS, OTHER]


@pytest.mark.parametrize("max_lock_ms", WAYS)
def test_an_index_goes_together_with_a_change_of_a_few_rows(database, max_lock_ms):
    """A unique one would not let the rows be as they shall."""
    run_sql(database, "DROP INDEX by_place", "CREATE UNIQUE INDEX by_place ON notes (place)")
    unique = "CREATE UNIQUE INDEX by_place ON notes (place)"
    alike = Change("notes", values={"place": "'here'"}, where="id IN (2, 3)", drops=(unique,), indexes=(BY_BODY,))
    before = holds(database)
    migrate(database, application(alike), max_lock_ms=max_lock_ms)
    assert indexes(database) == [BY_BODY, WAS]
    migrate(database, application(alike), to_version=0, max_lock_ms=max_lock_ms)
    assert (indexes(database), holds(database)["notes"]) == ([WAS, unique], before["notes"])


def test_an_index_that_is_missing_or_another_one_is_found_before_live_is_written(database):
    before = stored(database)
    spoilt = {
        "index by_body is missing": {"indexes": (GOOD_FIRST,)},
        "index by_body is not as planned": {"indexes": (GOOD_FIRST, BY_BODY.replace("body)", "body DESC)"))},
        "index mine was not planned": {"indexes": (GOOD_FIRST, BY_BODY, "CREATE INDEX mine ON notes (id)")},
        "index by_mood is not as planned": {"indexes": (BY_BODY,), "drops": ()},
    }
    for message, fields in spoilt.items():
        with pytest.raises(RehearsalError, match=message):
            indexed(with_plan(staged(database), **fields))
    assert stored(database) == before


def staged(database):
    return stage(inspect(backed_up(database, APPLICATION)))


def indexed(candidate):
    for table in candidate.plan.tables:
        candidate = drop_indexes(candidate, table)
    return create_indexes(candidate)


def test_a_row_that_changes_while_only_the_indexes_should_is_found(database):
    for statement in ("UPDATE notes SET mood = 'x' WHERE id = 7", "DELETE FROM notes WHERE id = 7"):
        candidate = staged(database)
        run_sql(candidate.path, statement)
        with pytest.raises(RehearsalError, match="changed tables whose rows it does not name: notes"):
            indexed(candidate)


def test_an_index_that_live_has_not_after_the_promotion_is_found(database):
    done = promote(rehearsed(database, APPLICATION), PLENTY_MS)
    run_sql(database, "DROP INDEX by_body")
    with pytest.raises(VerificationError, match="index by_body missing or changed"):
        verify_live(done)


@pytest.mark.parametrize("max_lock_ms", WAYS)
def test_a_restore_after_the_promotion_makes_the_dropped_ones_again(database, max_lock_ms):
    before = holds(database)
    del before["sqlite_stat1"]
    done = promote(rehearsed(database, APPLICATION), max_lock_ms)
    assert restored(database, live_of(done)).how == "reversed"
    assert {name: cells for name, cells in holds(database).items() if name != "sqlite_stat1"} == before


def test_a_restore_of_many_rows_makes_a_dropped_index_again_beside_the_application(database, monkeypatch):
    monkeypatch.setattr("migrator.restoration._ROWS_AT_ONCE", 99)
    online = []
    monkeypatch.setattr("migrator.restoration.promote_online", lambda *given: online.append(promote_online(*given)))
    only_makes = application(replace(INDEXES, drops=(), indexes=(BY_BODY,)))
    for app, times in ((only_makes, 0), (APPLICATION, 1)):
        before = indexes(database)
        live = live_of(promote(rehearsed(database, app), PLENTY_MS))
        assert restored(database, live).how == "reversed"
        assert (indexes(database), len(online)) == (before, times)


def test_a_promotion_that_is_killed_between_its_indexes_leaves_the_old_ones(database):
    before = holds(database)

    def killed() -> None:
        candidate = rehearsed(database, APPLICATION)
        create = "migrator.rebuild.create_indexes"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                create, lambda connection, plan: (connection.execute(GOOD_FIRST), os.kill(os.getpid(), SIGKILL))
            )
            promote(candidate, PLENTY_MS)

    killed_after(30, killed)
    assert recover(database, APPLICATION).how == "unchanged"
    assert holds(database) == before
    migrate(database, APPLICATION)
    assert indexes(database) == [BY_BODY, GOOD_FIRST, OTHER]


def test_a_run_that_is_killed_after_its_commit_is_finished(database):
    killed_after(30, lambda: (promote(rehearsed(database, APPLICATION), PLENTY_MS), os.kill(os.getpid(), SIGKILL)))
    assert recover(database, APPLICATION).how == "finished"
    assert indexes(database) == [BY_BODY, GOOD_FIRST, OTHER]
    assert preflight(database, APPLICATION).plan is None


def test_an_application_that_writes_all_the_time_loses_nothing(database, tmp_path):
    with writing(database, tmp_path / "log") as lines:
        for version in (1, 0, 1):
            await_more(lines)
            migrate(database, APPLICATION, to_version=version)
        await_more(lines)
    assert (errors(lines()), lost(database, lines())) == ([], [])
    assert indexes(database) == [BY_BODY, GOOD_FIRST, OTHER]


def test_a_baseline_reads_no_row_for_an_index(database):
    run_sql(database, "DROP INDEX by_mood", GOOD_FIRST, BY_BODY)
    live = preflight(database, APPLICATION, baseline=True)
    (adopted,) = live.plan.adopted
    assert "WHERE false" in adopted.differing
    migrate(database, APPLICATION, baseline=True)
    assert preflight(database, APPLICATION).from_version == 1


def test_a_plan_says_that_the_table_stays_and_how_long_its_indexes_take(database):
    status = look(database, APPLICATION, PLENTY_MS)
    (explained,) = status.explanations
    assert (explained.kind, explained.why) == ("indexes", ("only its indexes change",))
    assert (explained.made, explained.dropped, explained.made_again) == ((GOOD_FIRST, BY_BODY), (WAS,), ())
    assert status.forecast is not None and (status.forecast.rows, status.forecast.way) == (100, "one_transaction")
    only_drops = look(database, application(Change("notes", drops=(WAS,))), PLENTY_MS)
    assert only_drops.forecast is not None and only_drops.forecast.rows == 100
