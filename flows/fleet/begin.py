"""The beginning of a fleet's run: which databases, in which waves, or where an earlier start left off."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from loguru import logger
from pydantic import ValidationError

from flows.application import LTMC
from flows.fleet.request import FleetRequest, PartOf
from migrator.errors import RefusedError
from migrator.fleet.fleet import Fleet
from migrator.fleet.inventory import find_databases, real_name
from migrator.fleet.results import INTERRUPTED, SUCCESSES
from migrator.fleet.state import Order, Stored, opened_state, read_state
from migrator.fleet.waves import Wave, parse_amounts, plan_waves


@contextmanager
def begun(
    request: FleetRequest, refuse: Callable[[Order], None] = lambda order: None
) -> Iterator[tuple[Fleet, FleetRequest]]:
    """The fleet, and what was asked for when it was begun; in the block no other run has its state file.

    Raises RefusedError, as `refuse` may, where there is nothing to begin or to go on with; then nothing was made.
    """
    part_of = request.part_of
    start: dict[str, Any] = {}
    if part_of is not None:
        start = {"for_proof": part_of.is_canary, "is_proven": not part_of.is_canary}
    if not request.resume or request.dry_run:
        # Before a file is made.
        order = _order(request)
        refuse(order)
    if request.dry_run:
        yield Fleet(order, request.limit, **start), request
        return
    if part_of is not None:
        _make_folder(request.state.parent, part_of)
    waits = None if part_of is None else partial(_say_that_it_waits, part_of)
    with opened_state(request.state, create=not request.resume, waits=waits) as state:
        stored = read_state(request.state)
        # A part goes on with what is there: the run that was ordered before it may have been killed.
        if request.resume or (part_of is not None and stored is not None):
            if stored is None:
                raise RefusedError(f"{request.state} holds no fleet", "begin one without --resume")
            _refuse_other_migrations(stored, request.state)
            refuse(stored.order)
            # Another one may have failed in the run that was ordered before it: that is known by now.
            of = None if part_of is None else {*map(str, request.databases)}
            request = request.going_on(_request_of(stored, request.state))
            state.cut_torn_line()
            state.note("resumed", request=request.model_dump(mode="json"))
            fleet = Fleet(stored.order, request.limit, state, **start)
            fleet.take_over(stored, request.retry_failed, of)
        else:
            _refuse_unfinished(stored, request.state)
            state.begin(order)
            fleet = Fleet(order, request.limit, state, **start)
        try:
            yield fleet, request
        finally:
            fleet.close()


def _make_folder(folder: Path, part_of: PartOf) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(
            f"{part_of.machine} has no place for the state of its part: {folder} cannot be made ({error.strerror})",
            "let the worker's user write to its PREFECT_HOME, and go on with --resume",
        ) from error


def _say_that_it_waits(part_of: PartOf) -> None:
    logger.warning("another run of {} is at work; this one goes on when that has ended", part_of)


def _order(request: FleetRequest) -> Order:
    if (part_of := request.part_of) is not None:
        if part_of.checksum != _checksum():
            raise RefusedError(
                f"{part_of.machine} has other migrations than where fleet {part_of.fleet_id} was begun",
                "bring the same version of this tool to both, and go on with --resume",
            )
        fleet_id = part_of.fleet_id
        # By the names that the fleet knows them by.
        waves: tuple[Wave, ...] = (Wave(part_of.wave, tuple(map(str, request.databases))),)
    else:
        fleet_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        databases = find_databases(request.databases, request.glob, request.inventory, request.backup_dir)
        canary = None if request.canary is None else real_name(request.canary)
        waves = plan_waves([*map(str, databases)], parse_amounts(request.waves), canary)
    return Order(fleet_id, request.model_dump(mode="json"), _checksum(), waves)


def _checksum() -> str:
    """What the migrations are, all of them: the canary speaks for no others."""
    return hashlib.sha256(" ".join(migration.checksum for migration in LTMC.migrations).encode()).hexdigest()


def _refuse_other_migrations(stored: Stored, path: Path) -> None:
    if stored.order.checksum != _checksum():
        raise RefusedError(
            f"the fleet of {path} was begun with other migrations, and its canary says nothing about these",
            "begin a fleet with another --state: it finds what is up to date",
        )


def _refuse_unfinished(stored: Stored | None, path: Path) -> None:
    """Only a state in which nothing is left, and nothing waits for an operator, may be replaced."""
    if stored is None:
        return
    last = {result.database: result.outcome for result in stored.results}
    if stored.left or INTERRUPTED in last.values() or not SUCCESSES.issuperset(last.values()):
        raise RefusedError(
            f"{path} holds a fleet with databases that are left or failed",
            "go on with it with --resume; or move the file away, or name another with --state",
        )


def _request_of(stored: Stored, path: Path) -> FleetRequest:
    try:
        return FleetRequest.model_validate(stored.order.request)
    except ValidationError as error:
        fault = f"what the fleet of {path} was begun with is not understood ({error.errors()[0]['msg']})"
        raise RefusedError(fault, "begin a fleet with another --state") from error
