"""What no rule may remove stays, and pruning again finds nothing to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.backups.listing import Manifest, StoredBackup
from migrator.backups.retention import Rules, decide, decide_reading

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MANIFEST = Manifest("/notes.db", 0, 100, "0" * 64)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def backup(when: datetime, number: int = 0, **fields) -> StoredBackup:
    """A sound backup of ten bytes, unless `fields` say otherwise."""
    run_id = f"{number:08x}"
    facts = {"size_bytes": 10, "manifest": MANIFEST, "verified": True} | fields
    return StoredBackup(f"/b/{when:%Y%m%dT%H%M%SZ}-{run_id}", facts.pop("kind", "backup"), when, run_id, **facts)


def kept(backups, rules: Rules, now: datetime = NOW) -> list[str]:
    """The times of those that stay, newest first."""
    by_location = {stored.location: stored for stored in backups}
    return [f"{by_location[location].at:%m-%d %H:%M}" for location in decide(backups, rules, now).stays]


EVERY_12_HOURS = [backup(at("2026-11-22T10:00") - timedelta(hours=12 * n), n) for n in range(60)]


def test_the_last_ones_are_the_newest():
    assert kept(EVERY_12_HOURS, Rules(last=3)) == ["11-22 10:00", "11-21 22:00", "11-21 10:00"]


def test_of_each_day_the_newest_one_stays():
    assert kept(EVERY_12_HOURS, Rules(daily=3)) == ["11-22 10:00", "11-21 22:00", "11-20 22:00"]


def test_of_each_week_the_newest_one_stays_and_weeks_begin_on_monday():
    # The 22nd of November 2026 is a Sunday.
    assert kept(EVERY_12_HOURS, Rules(weekly=3)) == ["11-22 10:00", "11-15 22:00", "11-08 22:00"]


def test_rules_add_up_and_a_backup_may_stay_for_several_reasons():
    decision = decide(EVERY_12_HOURS, Rules(last=1, daily=2, weekly=2), NOW)
    assert list(decision.stays.values()) == [
        ("the newest verified one", "one of the last 1", "the newest of 2026-11-22", "the newest of 2026-W47"),
        ("the newest of 2026-11-21",),
        ("the newest of 2026-W46",),
    ]
    assert len(decision.goes) == 57 and set(decision.goes.values()) == {"no rule keeps it"}


def test_days_and_weeks_without_a_backup_are_not_counted():
    rare = [backup(at(when), n) for n, when in enumerate(("2026-11-01T08:00", "2026-03-05T08:00", "2025-12-24T08:00"))]
    assert kept(rare, Rules(daily=2)) == ["11-01 08:00", "03-05 08:00"]
    assert kept(rare, Rules(weekly=3)) == ["11-01 08:00", "03-05 08:00", "12-24 08:00"]


def test_a_day_ends_at_midnight_utc_and_a_week_of_two_years_is_one():
    midnight = [backup(at("2026-11-20T23:59:59"), 1), backup(at("2026-11-21T00:00:00"), 2)]
    assert kept(midnight, Rules(daily=2)) == ["11-21 00:00", "11-20 23:59"]
    # Monday the 28th of December 2026 begins week 53, Sunday the 3rd of January ends it.
    new_year = [backup(at(day), n) for n, day in enumerate(("2026-12-27", "2026-12-28", "2027-01-03", "2027-01-04"))]
    assert kept(new_year, Rules(weekly=4)) == ["01-04 00:00", "01-03 00:00", "12-27 00:00"]


def test_the_budget_takes_the_oldest_first_and_stops_when_it_is_met():
    five = EVERY_12_HOURS[:5]
    assert kept(five, Rules(max_bytes=30)) == ["11-22 10:00", "11-21 22:00", "11-21 10:00"]
    assert kept(five, Rules(max_bytes=29)) == ["11-22 10:00", "11-21 22:00"]
    assert kept(five, Rules(max_bytes=50)) == kept(five, Rules(max_bytes=10**9)) == kept(five, Rules(last=5))
    decision = decide(five, Rules(last=4, max_bytes=30), NOW)
    assert list(decision.goes.values()) == ["over the budget", "no rule keeps it"]
    assert decision.kept_bytes == 30


def test_a_budget_too_small_for_what_must_stay_keeps_it_all_the_same():
    decision = decide(EVERY_12_HOURS[:5], Rules(max_bytes=0), NOW)
    assert list(decision.stays.values()) == [("the newest verified one", "within the budget")]
    assert decision.kept_bytes == 10


def test_without_a_rule_nothing_goes():
    old = [*EVERY_12_HOURS, backup(at("2020-01-01"), 99, kind="unfinished", manifest=None, verified=None)]
    assert decide(old, Rules(), NOW).goes == {}


def test_without_a_verified_backup_nothing_goes():
    damaged = [replace(stored, verified=False) for stored in EVERY_12_HOURS[:3]]
    old = backup(at("2020-01-01"), 99, kind="present", manifest=None, verified=None, present_at=at("2020-01-01"))
    decision = decide([*damaged, old], Rules(last=0, max_bytes=0), NOW)
    assert decision.goes == {} and len(decision.stays) == 4


def test_a_damaged_backup_takes_no_sound_ones_place():
    newest, second, third, *_ = EVERY_12_HOURS
    damaged = replace(second, verified=False)
    decision = decide([newest, damaged, third], Rules(last=2), NOW)
    assert list(decision.stays) == [newest.location, third.location]
    assert decision.goes == {damaged.location: "damaged"}


def test_a_damaged_backup_newer_than_every_sound_one_stays():
    newest, second, third, *_ = EVERY_12_HOURS
    decision = decide([replace(newest, verified=False), second, third], Rules(last=1), NOW)
    assert decision.stays == {
        newest.location: ("damaged, but newer than every verified one",),
        second.location: ("the newest verified one", "one of the last 1"),
    }


def test_what_nobody_has_read_stays():
    unread = replace(EVERY_12_HOURS[5], verified=None)
    decision = decide([*EVERY_12_HOURS[:2], unread], Rules(last=0), NOW)
    assert decision.stays == {EVERY_12_HOURS[0].location: ("the newest verified one",), unread.location: ("not read",)}


def test_what_the_ledger_and_a_killed_run_name_stays():
    newest, *_, before_2, before_1, killed = EVERY_12_HOURS[:10]
    old = [
        replace(before_2, applied=(2,), is_newest=True),
        replace(before_1, applied=(1,)),
        replace(killed, is_needed=True),
    ]
    decision = decide([newest, *old], Rules(last=0, max_bytes=0), NOW)
    assert decision.stays == {
        newest.location: ("the newest verified one",),
        before_2.location: ("from before 0002, which is in force",),
        killed.location: ("a killed run needs it",),
    }


@pytest.mark.parametrize(("days", "stays"), [(29.99, True), (30, False), (-5, True)])
def test_what_a_restore_saved_stays_for_thirty_days_beside_a_backup_too(days, stays):
    saved = NOW - timedelta(days=days)
    alone = backup(saved, 98, kind="present", manifest=None, verified=None, present_at=saved)
    beside = backup(at("2024-01-01"), 99, present_at=saved)
    decision = decide([EVERY_12_HOURS[0], alone, beside], Rules(last=1, max_bytes=0), NOW)
    assert (alone.location in decision.stays, beside.location in decision.stays) == (stays, stays)
    if not stays:
        assert decision.goes[alone.location] == "saved by a restore more than 30 days ago"


@pytest.mark.parametrize(("hours", "stays"), [(23.9, True), (24, False)])
def test_what_was_never_finished_goes_after_a_day(hours, stays):
    left = backup(NOW - timedelta(hours=hours), 99, kind="unfinished", manifest=None, verified=None)
    decision = decide([backup(at("2026-11-01")), left], Rules(last=1), NOW)
    assert (left.location in decision.stays) == stays
    assert stays or decision.goes == {left.location: "never finished"}


KINDS = st.sampled_from(["backup"] * 6 + ["present", "unfinished"])


@st.composite
def some_backups(draw, known=True):
    verified = [True, True, False] if known else [True, None, None, None, False]
    found = []
    for number in range(draw(st.integers(0, 12))):
        kind, when = draw(KINDS), NOW - timedelta(hours=draw(st.integers(-30, 2000)))
        is_backup = kind == "backup"
        saved = kind == "present" or draw(st.integers(0, 9)) == 0
        applied = (1,) if draw(st.integers(0, 9)) == 0 else ()
        found.append(
            backup(
                when,
                number,
                kind=kind,
                size_bytes=draw(st.integers(0, 50)),
                manifest=MANIFEST if is_backup else None,
                verified=draw(st.sampled_from(verified)) if is_backup else None,
                present_at=when if saved else None,
                applied=applied,
                is_newest=bool(applied) and draw(st.booleans()),
                is_needed=draw(st.integers(0, 9)) == 0,
            )
        )
    return found


# A machine that stalls for a moment is no fault of what is tested.
patiently = settings(deadline=None)
counts = st.none() | st.integers(0, 6)
numbers = st.builds(Rules, last=counts, daily=counts, weekly=counts)
rules_drawn = st.builds(Rules, counts, counts, counts, st.none() | st.integers(0, 300))


@patiently
@given(some_backups(), rules_drawn)
def test_each_backup_stays_or_goes_and_the_bytes_are_those_that_stay(backups, rules):
    decision = decide(backups, rules, NOW)
    sizes = {stored.location: stored.size_bytes for stored in backups}
    assert {*decision.stays, *decision.goes} == sizes.keys() and not decision.stays.keys() & decision.goes.keys()
    assert decision.kept_bytes == sum(sizes[location] for location in decision.stays)
    assert all(decision.stays.values()) and all(decision.goes.values())


@patiently
@given(some_backups(), rules_drawn)
def test_no_rule_removes_what_may_be_needed(backups, rules):
    goes = decide(backups, rules, NOW).goes
    sound = [stored for stored in backups if stored.kind == "backup" and stored.verified]
    if goes:
        newest = max(sound, key=lambda stored: (stored.at, stored.location))
        assert newest.location not in goes
    for stored in backups:
        if stored.location in goes:
            assert not stored.is_needed and not stored.is_newest
            assert stored.present_at is None or NOW - stored.present_at >= timedelta(days=30)


@patiently
@given(some_backups(), rules_drawn)
def test_pruning_twice_is_pruning_once(backups, rules):
    stays = decide(backups, rules, NOW).stays
    again = decide([stored for stored in backups if stored.location in stays], rules, NOW)
    assert again.stays.keys() == stays.keys() and again.goes == {}


@patiently
@given(some_backups(), rules_drawn)
def test_the_order_in_which_they_are_listed_decides_nothing(backups, rules):
    assert decide(backups, rules, NOW) == decide(backups[::-1], rules, NOW)


@patiently
@given(some_backups(), numbers, st.sampled_from(["last", "daily", "weekly"]))
def test_a_larger_number_keeps_no_backup_less(backups, rules, name):
    if getattr(rules, name) is None:
        rules = replace(rules, **{name: 0})
    larger = replace(rules, **{name: getattr(rules, name) + 1})
    assert decide(backups, rules, NOW).stays.keys() <= decide(backups, larger, NOW).stays.keys()


@patiently
@given(some_backups(), rules_drawn, st.integers(0, 300), st.integers(0, 100))
def test_a_larger_budget_keeps_no_backup_less(backups, rules, budget, more):
    smaller, larger = replace(rules, max_bytes=budget), replace(rules, max_bytes=budget + more)
    assert decide(backups, smaller, NOW).stays.keys() <= decide(backups, larger, NOW).stays.keys()


@patiently
@given(some_backups(), numbers, st.integers(0, 5000))
def test_without_a_budget_what_goes_now_goes_later(backups, rules, hours):
    later = decide(backups, rules, NOW + timedelta(hours=hours))
    assert decide(backups, rules, NOW).goes.keys() <= later.goes.keys()


@patiently
@given(some_backups(), numbers, st.integers(0, 300))
def test_a_budget_is_met_or_only_what_must_stay_is_left(backups, rules, budget):
    decision = decide(backups, replace(rules, max_bytes=budget), NOW)
    must_stay = decide(backups, replace(rules, max_bytes=0), NOW)
    assert decision.kept_bytes <= budget or decision.stays.keys() == must_stay.stays.keys()
    over = [stored.at for stored in backups if decision.goes.get(stored.location) == "over the budget"]
    kept_by_rules = decision.stays.keys() - must_stay.stays.keys()
    assert not over or all(stored.at >= max(over) for stored in backups if stored.location in kept_by_rules)


@patiently
@given(some_backups(known=False), rules_drawn, st.sets(st.integers(0, 12)))
def test_reading_only_what_stays_decides_as_reading_everything_would(backups, rules, damaged):
    read = []

    def check(stored):
        if stored.verified is None and stored.kind == "backup":
            return replace(stored, verified=int(stored.run_id, 16) not in damaged)
        return stored

    def noting(stored):
        read.append(check(stored))
        return read[-1]

    decision = decide_reading(backups, rules, NOW, noting)
    complete = decide([check(stored) for stored in backups], rules, NOW)
    assert (decision.stays, decision.goes.keys()) == (complete.stays, complete.goes.keys())
    assert len({stored.location for stored in read}) == len(read)
    sound = {stored.location for stored in read if stored.verified}
    assert {decision.goes[location] for location in sound - decision.stays.keys()} <= {"over the budget"}
