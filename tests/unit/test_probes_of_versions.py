"""A tool may do something else from a version on: each run asks the application that expects the version to be."""

from dataclasses import replace

import pytest

from migrator.errors import ProbeError
from migrator.ltmc import LTMC
from migrator.migration import Change
from migrator.preflight import preflight
from migrator.probes import Probe
from migrator.quick_check import WORKS, look_at_tools
from migrator.tools import copy_for_tools, validate_tool
from tests.notes import ADD_NOTE, AFTER, COUNT_GOOD, PING, make_notes, migration, notes_application
from tests.runs import columns, migrate, rehearsed

# 0002 puts a column before the others, which a tool reads by position.
WITH_AUTHOR = AFTER.replace("body TEXT", "author TEXT DEFAULT 'nobody', body TEXT")
LATER = Change("notes", AFTER, WITH_AUTHOR, originals="notes_2", ahead="notes_2_ahead")


def read_second(name):
    def call(connection):
        found = [d[0] for d in connection.execute("SELECT * FROM notes WHERE id = 1").description]
        if found[1] != name:
            raise ProbeError(f"the second column is {found[1]}, expected {name}")

    return Probe("read_notes", call)


OLD, NEW = read_second("body"), read_second("author")
SEARCH = Probe("search_notes", lambda connection: None)
FIRST = replace(migration(), probes=())
SECOND = replace(migration(LATER, version=2, tools=("read_notes",)), probes=(NEW, SEARCH))
TWO = notes_application(FIRST, SECOND, probes=(OLD, ADD_NOTE, COUNT_GOOD, PING))


@pytest.fixture
def database(tmp_path):
    make_notes(tmp_path / "notes.db")
    return tmp_path / "notes.db"


def test_a_probe_takes_the_place_of_the_earlier_one_from_its_version_on():
    assert [TWO.probes_at(version) for version in (0, 1)] == [TWO.probes] * 2
    assert TWO.probes_at(2) == (NEW, ADD_NOTE, COUNT_GOOD, PING, SEARCH)


@pytest.mark.parametrize(("to", "probe"), [(0, OLD), (1, OLD), (2, NEW)])
def test_a_run_asks_the_application_of_the_version_that_it_leads_to(database, to, probe):
    migrate(database, TWO, to_version=1)
    assert preflight(database, TWO, to_version=to).probes[0] is probe


def test_the_whole_way_forth_and_back_passes_with_the_probes_of_each_version(database):
    for version in (1, 2, 1, 2, 0):
        migrate(database, TWO, to_version=version)
    assert columns(database) == ["id", "body", "mood", "place"]


def test_a_tool_that_reads_by_position_fails_on_the_old_table_and_passes_on_the_new(database):
    candidate = rehearsed(database, TWO)
    result = validate_tool(copy_for_tools(candidate), preflight(database, TWO).probes[0])
    assert (result.before, result.after) == ("failed", "passed")
    assert result.reason == "failed before: the second column is body, expected author"
    assert [s.state for s in look_at_tools(candidate, "create indexes") if s.tool == "read_notes"] == [WORKS]


def test_no_probe_is_part_of_a_checksum():
    assert replace(SECOND, probes=()).checksum == SECOND.checksum


def test_every_tool_that_a_migration_of_ltmc_names_or_replaces_is_one_of_the_28():
    catalogue = {probe.tool for probe in LTMC.probes}
    for declared in LTMC.migrations:
        assert {*declared.tools, *(probe.tool for probe in declared.probes)} <= catalogue
