"""Which backups stay: grandfather, father, son, and whatever may still be needed. Decides, and touches nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from migrator.backups.listing import StoredBackup

PRESENT_DAYS = 30
"""A state that a restore saved holds writes that are nowhere else; a month is what it takes to miss them."""
UNFINISHED_DAYS = 1
"""A run writes its manifest, or dies, within the hour that a copy may take."""

_OVER_BUDGET = "over the budget"


@dataclass(frozen=True)
class Rules:
    """How many backups stay. None: no such rule; with none of the first three only `max_bytes` limits them, and without
    any rule nothing goes.

    `last`: the newest ones. `daily`, `weekly`: the newest one of each of so many days or weeks, counting only those
    that have one. Days are those of UTC, weeks those of ISO 8601 (from Monday, 00:00 UTC).
    """

    last: int | None = None
    daily: int | None = None
    weekly: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Decision:
    """By location, newest first: why each that stays does, and why each that goes does.

    `kept_bytes` may be more than the budget: what must never go counts, and is kept all the same.
    """

    stays: Mapping[str, tuple[str, ...]]
    goes: Mapping[str, str]
    kept_bytes: int


def decide(backups: Iterable[StoredBackup], rules: Rules, now: datetime) -> Decision:
    """What stays and what goes of the backups of one database.

    Whatever the rules: the newest verified backup stays, and without one everything; what a killed run needs; the
    backup that the newest migration in force was made from; a state that a restore saved, for PRESENT_DAYS; what
    nobody has read; and a damaged backup that is newer than every verified one. A damaged backup takes no sound one's
    place. The budget takes the oldest first, and none of these.
    """
    newest_first = sorted(backups, key=lambda stored: (stored.at, stored.location), reverse=True)
    protected = _protected(newest_first, rules, now)
    ruled = _ruled([stored for stored in newest_first if stored.kind == "backup" and stored.verified], rules)
    stays = {
        stored.location: reasons
        for stored in newest_first
        if (reasons := (*protected.get(stored.location, ()), *ruled.get(stored.location, ())))
    }
    goes = {stored.location: _fault(stored) for stored in newest_first if stored.location not in stays}
    kept_bytes = sum(stored.size_bytes for stored in newest_first if stored.location in stays)
    for stored in reversed(newest_first):
        if rules.max_bytes is None or kept_bytes <= rules.max_bytes:
            break
        if stored.location in stays and stored.location not in protected:
            del stays[stored.location]
            goes[stored.location] = _OVER_BUDGET
            kept_bytes -= stored.size_bytes
    return Decision(stays, {s.location: goes[s.location] for s in newest_first if s.location in goes}, kept_bytes)


def decide_reading(
    backups: Iterable[StoredBackup], rules: Rules, now: datetime, check: Callable[[StoredBackup], StoredBackup]
) -> Decision:
    """`decide` as if `check` had verified every backup; it is asked only for those that a rule keeps.

    One that the budget would remove counts too: were it damaged, another could stay in its place.
    """
    known = {stored.location: stored for stored in backups}
    while True:
        decision = decide((_presumed(stored) for stored in known.values()), rules, now)
        over_budget = [location for location, why in decision.goes.items() if why == _OVER_BUDGET]
        unread = [location for location in (*decision.stays, *over_budget) if _is_unread(known[location])]
        if not unread:
            return decision
        for location in unread:
            known[location] = check(known[location])


def _is_unread(stored: StoredBackup) -> bool:
    return stored.kind == "backup" and stored.verified is None


def _presumed(stored: StoredBackup) -> StoredBackup:
    return replace(stored, verified=True) if _is_unread(stored) else stored


def _protected(newest_first: Sequence[StoredBackup], rules: Rules, now: datetime) -> dict[str, tuple[str, ...]]:
    """Why some must not go, by location."""
    verified = next((stored for stored in newest_first if stored.kind == "backup" and stored.verified), None)

    def reasons(stored: StoredBackup) -> Iterable[str]:
        if rules == Rules():
            yield "no rule says what goes"
        if verified is None:
            yield "no backup is verified"
        elif stored is verified:
            yield "the newest verified one"
        elif stored.verified is False and stored.at >= verified.at:
            yield "damaged, but newer than every verified one"
        if _is_unread(stored):
            yield "not read"
        if stored.is_needed:
            yield "a killed run needs it"
        if stored.is_newest:
            yield f"from before {stored.applied[-1]:04d}, which is in force"
        if stored.present_at is not None and now - stored.present_at < timedelta(days=PRESENT_DAYS):
            yield f"saved by a restore less than {PRESENT_DAYS} days ago"
        if stored.kind == "unfinished" and now - stored.at < timedelta(days=UNFINISHED_DAYS):
            yield "unfinished, and not a day old"

    found = {stored.location: tuple(reasons(stored)) for stored in newest_first}
    return {location: why for location, why in found.items() if why}


def _ruled(newest_first: Sequence[StoredBackup], rules: Rules) -> dict[str, tuple[str, ...]]:
    """Which rules keep which backups, by location."""
    if rules.last is None and rules.daily is None and rules.weekly is None:
        return {stored.location: ("within the budget",) for stored in newest_first}
    kept: dict[str, tuple[str, ...]] = {
        s.location: (f"one of the last {rules.last}",) for s in newest_first[: rules.last or 0]
    }
    for count, bucket in ((rules.daily, "%Y-%m-%d"), (rules.weekly, "%G-W%V")):
        newest: dict[str, StoredBackup] = {}
        for stored in newest_first:
            newest.setdefault(stored.at.strftime(bucket), stored)
        for name, stored in list(newest.items())[: count or 0]:
            kept[stored.location] = (*kept.get(stored.location, ()), f"the newest of {name}")
    return kept


def _fault(stored: StoredBackup) -> str:
    if stored.kind == "present":
        return f"saved by a restore more than {PRESENT_DAYS} days ago"
    if stored.kind == "unfinished":
        return "never finished"
    return "damaged" if stored.verified is False else "no rule keeps it"
