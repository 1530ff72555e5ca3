"""What a fleet shows in Prefect, and what another machine's fleet reads of that."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.context import FlowRunContext

from flows.fleet.machines import PartRun
from migrator.fleet.fleet import Fleet
from migrator.fleet.parts import Part
from migrator.fleet.results import Result
from migrator.fleet.state import Order
from migrator.fleet.waves import Wave, parse_amount
from tasks.fleet import Shown

PATHS = tuple(f"/srv/data/customers/{n:05}/ltmc.db" for n in range(5000))


def fleet_of(paths: tuple[str, ...]) -> Fleet:
    return Fleet(Order("f1", {}, "checksum", (Wave("wave 1", paths),)), parse_amount("100%"), is_proven=True)


def ended(fleet: Fleet, paths: tuple[str, ...]) -> None:
    for path in paths:
        beside = f"{path}.backups/20261123T054752Z-48cde443"
        failed = path == PATHS[-1]
        fleet.ended(
            Result(path, "refused" if failed else "migrated", 1.5, "no" if failed else None, beside, 0, 5, beside)
        )


def flow_run_id() -> UUID:
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    return context.flow_run.id


def shown_of(run: UUID) -> dict[str, str]:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        found = [(artifact.key or "", str(artifact.data)) for artifact in client.read_artifacts(artifact_filter=chosen)]
    assert len({*dict(found)}) == len(found)
    return dict(found)


@pytest.mark.usefixtures("server")
def test_every_result_of_a_large_part_comes_back_each_once_while_it_runs() -> None:
    part = Part(tuple(f"m1:{path}" for path in PATHS), "m1")

    @flow
    def shows() -> tuple[UUID, list[int]]:
        fleet, read = fleet_of(PATHS), []
        shown = Shown(fleet, is_read=True)
        with get_client(sync_client=True) as client:
            run = PartRun(client, flow_run_id(), part, "wave 1 of f1 on m1")
            # A start that goes on with what there is; 1 more; what fills a table; no more; the rest.
            for so_far in (1500, 1501, 2000, 2000, 5000):
                ended(fleet, PATHS[len(fleet.results) : so_far])
                shown.publish("under way")
                read.append(run.results())
            assert {name for some in read for name in some} == {*part.databases}
            assert run.results() == {}
            assert read[-1][part.databases[-1]].outcome == "refused"
        return flow_run_id(), [len(some) for some in read]

    run, counts = shows()
    assert counts == [1500, 501, 1000, 0, 3000]
    assert [*shown_of(run)] and {*shown_of(run)} == {"fleet", "databases", *(f"databases-{n}" for n in range(2, 6))}


@pytest.mark.usefixtures("server")
def test_of_a_fleet_that_nobody_reads_a_page_is_shown_with_what_failed_first_and_its_end_stays() -> None:
    @flow
    def shows() -> UUID:
        fleet = fleet_of(PATHS)
        shown = Shown(fleet, is_read=False)
        ended(fleet, PATHS)
        shown.publish("under way")
        shown.publish("failed")
        # As where the end came while this one waited for its turn.
        shown.publish("under way", lambda: True)
        return flow_run_id()

    artifacts = shown_of(shows())
    assert {*artifacts} == {"fleet", "databases"}
    assert artifacts["fleet"].startswith("# failed\n")
    assert artifacts["databases"].index(PATHS[-1]) < artifacts["databases"].index(PATHS[0])
    assert artifacts["databases"].count('"outcome"') == 1000
