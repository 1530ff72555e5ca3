"""What a plan puts aside is known before anything is done, and is what the rehearsal then finds."""

import pytest

from migrator.dry_run import look_ahead
from migrator.ltmc import LTMC
from migrator.preflight import preflight
from tests.notes import NOTES
from tests.runs import migrate, run_sql, stored
from tests.unit.generating import application
from tests.unit.made_up import CHAT, MADE_UP, TASKS

NEWER = (
    "INSERT INTO TeamMembers (member_id, name, created_at, updated_at) VALUES ('m', 'n', '2026', '2026')",
    "UPDATE Todos SET status = 'in_progress' WHERE id = 1",
    "UPDATE CodePatterns SET tags = '[]' WHERE id < 5",
)


def counted(database, app, **options):
    before = stored(database)
    found = look_ahead(preflight(database, app, only_look=True, **options))
    assert stored(database) == before
    return found


def rehearsed_and_done(database, app, **options):
    return [f for f in migrate(database, app, **options).candidate.findings if f.code == "originals_kept"]


def test_forth_it_is_what_the_rehearsal_finds(database):
    found = counted(database, NOTES)
    assert [(f.code, f.count) for f in found] == [("originals_kept", 83)]
    assert [*found] == rehearsed_and_done(database, NOTES)


@pytest.mark.parametrize("writes", [(), NEWER], ids=["nothing newer", "newer rows"])
def test_back_over_every_version_it_is_what_the_rehearsal_finds(folder, writes):
    database = folder / "ltmc.db"
    LTMC.make_demo(database, 50)
    migrate(database, LTMC)
    run_sql(database, *writes)
    found = counted(database, LTMC, to_version=0)
    assert [(f.message.split()[2].rstrip(","), f.count) for f in found] == (
        [("TeamMembers", 1), ("Todos", 1), ("CodePatterns", 4)] if writes else []
    )
    assert sorted(map(str, found)) == sorted(map(str, rehearsed_and_done(database, LTMC, to_version=0)))


def test_what_starts_from_an_earlier_change_of_the_run_is_said_and_not_counted(folder):
    database = folder / "ltmc.db"
    LTMC.make_demo(database, 20)
    (found,) = (f for f in counted(database, LTMC) if f.code == "originals_not_counted")
    assert found.message == (
        "not counted, because an earlier change of this run comes first: rows of VectorIdSequence with new values; "
        "VectorIdSequence_legacy keeps the old ones"
    )


def test_rows_of_a_table_that_goes_are_counted(folder):
    database, app = folder / "live.db", application(MADE_UP)
    run_sql(database, TASKS, CHAT)
    migrate(database, app)
    assert counted(database, app, to_version=0) == ()
    run_sql(database, "INSERT INTO steps VALUES (5, 1, 'a'), (6, 1, 'b')")
    (found,) = counted(database, app, to_version=0)
    assert (found.count, found.message) == (
        2, "rows of steps, which the schema to be does not have; steps_ahead keeps them",
    )  # fmt: skip
