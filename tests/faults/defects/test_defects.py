"""Each seeded defect is reported by the gate that should report it, and nothing is reported where nothing is wrong."""

import os
import re
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from migrator.errors import RestoreError
from migrator.restoration import restore
from tests.faults.defects import __main__ as score
from tests.faults.defects.catalogue import WRITTEN
from tests.faults.defects.course import NOTED, PATTERNS, Defect, Report, Run, caught, run_with
from tests.faults.defects.generated import COUNT, defects
from tests.faults.defects.harmless import VARIATIONS, Variation, alarms, sql
from tests.faults.defects.promoted import DEFECTS as PROMOTED
from tests.runs import is_sound, rows

SEEDS = (1, 20261122, 777_001)
"""The same in every run; `make defects` draws another one."""
DRAWN = [defect for seed in SEEDS for defect in defects(seed)]
STAYING = "SELECT id, input_prompt, generated_code, error_message, created_at FROM CodePatterns ORDER BY id"


@pytest.fixture
def folder():
    """In memory where the machine has one: a backup is synced to the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def cases(found):
    marks = {d.name: [pytest.mark.xfail(strict=True, reason=d.missed)] if d.missed else [] for d in found}
    return [pytest.param(d, id=d.name, marks=marks[d.name]) for d in found]


@pytest.mark.parametrize("defect", cases((*WRITTEN, *DRAWN)))
def test_the_gate_that_should_reports_the_defect(folder, defect):
    run = run_with(defect, folder)
    assert caught(defect, run), run.reports


@pytest.mark.parametrize("variation", [pytest.param(v, id=v.name) for v in VARIATIONS])
def test_what_is_nobodys_concern_raises_no_alarm(folder, variation):
    assert alarms(variation, folder) == []


@pytest.mark.parametrize("defect", [d for d in PROMOTED if d.gate == "verify_live"], ids=lambda d: d.name)
def test_what_live_alone_reports_costs_no_row(folder, defect):
    run = run_with(defect, folder)
    before = rows(run.database, STAYING)
    try:
        restore(run.database, defect.application, run.live.run_id, run.live.directory)
    except RestoreError as error:
        # What is lost for good has to be said, with what to do.
        assert "to go back to that state: python -m flows.restore" in str(error)
    assert rows(run.database, STAYING) == before and len(before) == 200
    assert is_sound(run.database)


def test_there_are_as_many_as_were_asked_for():
    assert len(WRITTEN) >= 45 and len(VARIATIONS) >= 20
    assert {Counter(d.name.partition(".")[0] for d in DRAWN)[str(seed)] for seed in SEEDS} == {COUNT} == {15}
    names = [found.name for found in (*WRITTEN, *DRAWN, *VARIATIONS)]
    assert len(names) == len(set(names))


def test_a_seed_fixes_what_is_drawn_and_another_draws_something_else():
    # A fault in a plan is a function, made anew.
    first, again, other = ([(d.name, d.gate, d.says, d.sql) for d in defects(seed)] for seed in (5, 5, 6))
    assert first == again
    assert [name.partition(": ")[2] for name, *_ in first] != [name.partition(": ")[2] for name, *_ in other]


@pytest.mark.parametrize("subject", [PATTERNS, NOTED], ids=lambda s: s.name)
def test_what_is_said_of_a_sound_database_fits_no_defect(folder, subject):
    run = run_with(Defect("none", "", "", subject=subject), folder)
    assert run.stopped is None and run.reports
    fitting = [d.name for d in (*WRITTEN, *DRAWN) for r in run.reports if re.search(d.says, r.message)]
    assert fitting == []


def test_a_defect_that_changes_nothing_is_no_defect(folder):
    idle = Defect("idle", "create_indexes", "", before="create_indexes", sql=("DELETE FROM Todos WHERE id = -1",))
    assert "idle is no defect: it changes nothing" in run_with(idle, folder).stopped.message


def test_a_report_of_another_gate_or_about_something_else_does_not_count(folder):
    defect = Defect("a row", "create_indexes", "of CodePatterns")
    run = Run(folder / "none.db")
    for report in (Report("rebuild_table", "of CodePatterns", stops=True), Report("create_indexes", "of Todos")):
        run.reports = [report]
        assert caught(defect, run) is None
    run.reports.append(Report("create_indexes", "rows of CodePatterns", stops=True))
    assert caught(defect, run) == run.reports[1]


def test_a_variation_that_does_harm_raises_an_alarm(folder):
    harm = sql("CREATE VIEW mine AS SELECT language FROM CodePatterns")
    (alarm,) = [found for found in alarms(Variation("harm", harm), folder) if found.gate == "create_indexes"]
    assert "the migrated schema breaks view mine (no such column: language)" in alarm.message


def test_the_score_fails_for_a_defect_that_no_gate_reports(monkeypatch, capsys):
    quiet = Defect("a quiet one", "promote", "nothing says this", before="promote", sql=("PRAGMA user_version = 8",))
    known = Defect("a known one", "promote", "nor this", before="promote", sql=quiet.sql, missed="nobody looks")
    monkeypatch.setattr(score, "WRITTEN", (WRITTEN[0], known))
    monkeypatch.setattr(score, "defects", lambda seed: ())
    monkeypatch.setattr(score, "VARIATIONS", VARIATIONS[:1])
    monkeypatch.setenv("SEED", "5")
    assert score.main() == 0
    said = capsys.readouterr().out
    assert "1 of 2 caught by the gate that names them, 1 of 1 harmless variations without alarm; seed 5" in said
    assert "not yet: a known one (nobody looks)" in said
    monkeypatch.setattr(score, "WRITTEN", (WRITTEN[0], quiet))
    assert score.main() == 1
    assert "NOT CAUGHT a quiet one" in capsys.readouterr().out
