"""What a start that goes on with a fleet says anew, and what stays as the fleet was begun."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.fleet.request import FleetRequest, PartOf
from migrator.errors import RefusedError
from migrator.fleet.parts import Part

PART = PartOf(fleet_id="20261123T000000Z-0123abcd", wave="wave 1", machine="m1", checksum="of the migrations")
BEGUN = FleetRequest(databases=["m1:/a", "m1:/b"], waves="5%", max_failed="2", timeout_s=60, state="then.jsonl")


def resumed(**given):
    return FleetRequest(resume=True, **given).going_on(BEGUN)


def test_what_is_not_said_stays_as_it_was_begun():
    request = resumed()
    assert (request.waves, request.max_failed, request.timeout_s) == ("5%", "2", 60)
    assert resumed(timeout_s=90).timeout_s == 90
    with pytest.raises(RefusedError, match="--waves is not what this fleet was begun with"):
        resumed(waves="7%")


def test_a_limit_can_be_taken_back():
    assert resumed(max_failed="0").max_failed == "0"


def test_failed_ones_are_tried_again_by_the_start_that_says_so_and_by_no_later_one():
    again = resumed(retry_failed=True)
    assert again.retry_failed
    assert not FleetRequest(resume=True).going_on(again).retry_failed


def test_a_state_that_was_moved_is_where_it_is_now():
    assert resumed(state="now.jsonl").state == Path("now.jsonl")
    assert resumed().state == Path("fleet.jsonl")


def test_a_part_that_goes_on_does_all_that_the_fleet_says_now():
    part = Part(("m1:/a", "m1:/b"), "m1")
    first = FleetRequest.model_validate(
        FleetRequest(timeout_s=60, map_result=["timeout=fail"], resume=True, retry_failed=True).for_part(PART, part, 1)
    )
    now = FleetRequest.model_validate(FleetRequest().for_part(PART, Part(("m1:/b",), "m1"), 0)).going_on(first)
    assert (now.max_failed, now.timeout_s, now.map_result, now.retry_failed) == ("0", 3600, [], False)
    assert [*map(str, now.databases)] == ["/a", "/b"]


@pytest.mark.parametrize(
    "given",
    [{"machine": "../m1"}, {"machine": "m1\n"}, {"fleet_id": "a/b"}, {"fleet_id": "a\n"}, {"wave": "wave 1\n"}],
)
def test_a_state_is_named_after_nothing_that_leads_elsewhere(given):
    with pytest.raises(ValidationError):
        PartOf.model_validate(PART.model_dump() | given)
