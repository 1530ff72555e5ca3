"""The order of a fleet's run, with a carrier that is made up: canary, waves, limits, resume, interruption."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from migrator.errors import RefusedError
from migrator.fleet.fleet import Fleet
from migrator.fleet.order import carried_out, in_order, in_parallel
from migrator.fleet.parts import Part, parts_of
from migrator.fleet.report import as_json, wave_rows
from migrator.fleet.results import Result
from migrator.fleet.state import Order, opened_state, read_state
from migrator.fleet.waves import Wave, parse_amount, parse_amounts, plan_waves

TEN = "abcdefghij"
"""Canary a, then waves of three: bcd, efg, hij."""


def ordered(databases=TEN, sizes="3"):
    return Order("f1", {"waves": sizes}, "checksum", plan_waves(databases, parse_amounts(sizes)))


class MadeUp:
    """Carries out a database by saying what becomes of it; `log` is who was under way when, in order."""

    def __init__(self, fleet, outcomes=(), parallel=2):
        self.fleet, self.outcomes, self.parallel = fleet, dict(outcomes), parallel
        self.log, self.waves, self.most = [], [], 0
        self._lock, self._now = threading.Lock(), 0

    def migrate(self, database):
        with self._lock:
            self.log.append(database)
            self._now += 1
            self.most = max(self.most, self._now)
        outcome = self.outcomes.get(database, "migrated")
        if isinstance(outcome, BaseException):
            raise outcome
        with self._lock:
            self._now -= 1
        failed = outcome in ("restored", "refused", "restore_failed")
        return Result(database, outcome, 0.5, error=f"why {database} failed" if failed else None)

    def results(self, part):
        """Those of a machine's part one by one, and none after the first that proves something where that is wanted."""
        is_canary = not self.fleet.is_proven
        for database in part.databases:
            if not (is_canary and self.fleet.is_proven):
                yield self.migrate(database)

    def carry_out(self, wave):
        self.waves.append((wave.name, "".join(wave.databases)))
        with ThreadPoolExecutor(10) as threads:
            in_parallel(
                self.fleet,
                wave,
                lambda part: threads.submit(carried_out, self.fleet, part, self.results),
                self.parallel,
                lambda name: None,
            )


def run(outcomes=(), *, allowed="0", parallel=1, databases=TEN, sizes="3", state=None, fleet=None):
    fleet = fleet or Fleet(ordered(databases, sizes), parse_amount(allowed), state)
    carrier = MadeUp(fleet, outcomes, parallel)
    in_order(fleet, carrier.carry_out)
    return fleet, carrier


def test_the_canary_goes_first_and_alone_then_each_wave_when_the_one_before_is_over():
    fleet, carrier = run(parallel=3)
    assert carrier.waves == [("canary", TEN), ("wave 1", "bcd"), ("wave 2", "efg"), ("wave 3", "hij")]
    assert carrier.log[0] == "a"
    assert [sorted(carrier.log[n : n + 3]) for n in (1, 4, 7)] == [[*"bcd"], [*"efg"], [*"hij"]]
    assert (fleet.outcome, fleet.exit_code, fleet.left) == ("migrated", 0, [])


@pytest.mark.parametrize("outcome", ["restored", "refused"])
def test_nothing_follows_a_canary_that_failed_whatever_the_limit(outcome):
    fleet, carrier = run({"a": outcome}, allowed="100%", parallel=4)
    assert carrier.log == ["a"]
    assert fleet.why_stopped == "the canary failed: why a failed"
    assert (fleet.outcome, fleet.exit_code, fleet.left) == ("aborted", 1, [*"bcdefghij"])


def test_while_the_canary_is_up_to_date_the_next_database_is_the_canary():
    fleet, carrier = run({"a": "up_to_date", "b": "up_to_date", "c": "restored"}, allowed="3", parallel=4)
    assert carrier.log == ["a", "b", "c"]
    assert fleet.why_stopped == "the canary failed: why c failed"
    fleet, carrier = run({"a": "up_to_date", "b": "up_to_date", "c": "migrated"}, parallel=4)
    assert carrier.waves == [("canary", TEN), ("wave 1", "d"), ("wave 2", "efg"), ("wave 3", "hij")]
    assert fleet.outcome == "migrated"


def test_a_fleet_that_is_up_to_date_needs_no_wave():
    fleet, carrier = run(dict.fromkeys(TEN, "up_to_date"), parallel=4)
    assert (carrier.log, carrier.most) == ([*TEN], 1)
    assert (fleet.outcome, fleet.exit_code) == ("migrated", 0)


def test_as_many_failures_as_allowed_pass_and_one_more_stops():
    fleet, carrier = run({"b": "restored", "c": "refused"}, allowed="2")
    assert carrier.log == [*TEN]
    assert (fleet.outcome, fleet.exit_code, fleet.why_stopped) == ("failed", 1, None)
    fleet, carrier = run({"b": "restored", "c": "refused", "d": "restored"}, allowed="2")
    assert carrier.log == [*"abcd"]
    assert fleet.why_stopped == "of wave 1 3 failed where 2 may, the last one: why d failed"
    assert (fleet.outcome, fleet.exit_code) == ("aborted", 1)


def test_failures_beside_the_one_too_many_are_counted_in_the_reason():
    fleet = Fleet(ordered(), parse_amount("0"))
    for database, outcome in (("a", "migrated"), ("b", "migrated"), ("c", "restored"), ("d", "refused")):
        fleet.ended(Result(database, outcome, 0.5, error=None if outcome == "migrated" else f"/{database}: broken"))
    assert [row.failed for row in wave_rows(fleet)] == [0, 2, 0, 0]
    assert fleet.why_stopped == "of wave 1 2 failed where 0 may, the last one: /d: broken"


def test_the_first_reason_stays_where_it_is_not_the_limit():
    fleet = Fleet(ordered(), parse_amount("0"))
    fleet.ended(Result("a", "migrated", 0.5))
    fleet.interrupt("interrupted")
    fleet.ended(Result("b", "restored", 0.5, error="no"))
    fleet.ended(Result("c", "restored", 0.5, error="no"))
    assert fleet.why_stopped == "interrupted"


def test_a_reason_names_a_database_once():
    fleet = Fleet(ordered(["/f/a.db"]), parse_amount("0"))
    fleet.ended(Result("/f/a.db", "restored", 0.5, error="promote failed; /f/a.db is as before"))
    assert fleet.why_stopped == "the canary failed: promote failed; /f/a.db is as before"
    fleet = Fleet(ordered(["/f/a.db"]), parse_amount("0"))
    fleet.ended(Result("/f/a.db", "restored", 0.5, error="killed"))
    assert fleet.why_stopped == "the canary failed: /f/a.db: killed"


def test_a_share_is_one_of_the_wave_and_each_wave_has_its_own():
    failing = {"b": "restored", "e": "restored", "h": "restored"}
    assert run(failing, allowed="34%")[0].outcome == "failed"
    assert run(failing, allowed="33%")[1].log == [*"ab"]


def test_a_wave_is_stopped_as_soon_as_its_limit_is_passed_and_what_is_under_way_ends():
    fleet, carrier = run({"b": "restored"}, parallel=2)
    assert carrier.log[:2] == ["a", "b"]
    assert set(carrier.log) <= {*"abcd"}
    assert {*fleet.results} == {*carrier.log}
    assert "wave 2" not in dict(carrier.waves)


def test_one_that_needs_an_operator_stops_the_fleet_at_any_limit():
    fleet, carrier = run({"c": "restore_failed"}, allowed="100%")
    assert carrier.log == [*"abc"]
    assert (fleet.outcome, fleet.exit_code) == ("aborted", 3)
    assert fleet.why_stopped == "an operator is needed for why c failed"


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_as_many_as_wanted_are_under_way_and_never_more_nor_any_beside_the_canary(parallel):
    fleet = Fleet(ordered(sizes="100%"), parse_amount("0"))
    carrier = MadeUp(fleet, parallel=parallel)
    all_there, one_too_many, plain = threading.Barrier(parallel), threading.Event(), carrier.migrate

    def meeting(database):
        if len(fleet.under_way) > (1 if "a" in fleet.under_way else parallel):
            one_too_many.set()
        if database in "bcd"[:parallel] and "a" not in fleet.under_way:
            all_there.wait(10)
        if database in "abcd":
            one_too_many.wait(0.05)
        return plain(database)

    carrier.migrate = meeting
    in_order(fleet, carrier.carry_out)
    assert not one_too_many.is_set()
    assert fleet.outcome == "migrated"


def test_a_wave_is_looked_at_as_often_whether_it_is_small_or_large(monkeypatch):
    # Each look is at every name.
    looks = []
    monkeypatch.setattr("migrator.fleet.waves.parts_of", lambda names: looks.append(1) or parts_of(names))
    run(sizes="100%")
    of_ten = len(looks)
    run(databases=[str(n) for n in range(200)], sizes="100%")
    assert len(looks) == 2 * of_ten


def test_a_carrier_that_breaks_stops_the_fleet_and_says_of_whom():
    fleet, carrier = run({"b": OSError("no room")})
    assert carrier.log == [*"ab"]
    assert fleet.why_stopped == "b could not be carried out: OSError: no room"
    assert fleet.left[0] == "b"
    assert fleet.exit_code == 1


def test_a_fleet_that_was_left_in_the_middle_has_not_succeeded():
    fleet = Fleet(ordered(), parse_amount("0"))
    fleet.ended(Result("a", "migrated", 0.1))
    assert (fleet.outcome, fleet.exit_code, fleet.why_stopped) == ("aborted", 1, None)


def test_a_carrier_that_leaves_a_database_out_stops_the_fleet():
    fleet = Fleet(ordered(), parse_amount("0"))
    in_order(fleet, lambda wave: None)
    assert fleet.why_stopped == "10 databases of canary were not carried out, the first is a"
    assert (fleet.outcome, fleet.exit_code) == ("aborted", 1)


MACHINES = ("m1:/a", "m2:/b", "m1:/c", "m2:/d", "m1:/e")


def test_a_wave_goes_to_all_machines_at_once_and_the_canary_to_one():
    fleet, carrier = run(databases=MACHINES, sizes="100%", parallel=1)
    assert carrier.waves == [("canary", "m1:/am2:/bm1:/cm2:/dm1:/e"), ("wave 1", "m2:/bm1:/cm2:/dm1:/e")]
    assert carrier.log[0] == "m1:/a"
    assert [name for name in carrier.log if name.startswith("m1")] == ["m1:/a", "m1:/c", "m1:/e"]
    assert (fleet.outcome, fleet.left, fleet.under_way) == ("migrated", [], {})
    waves = {wave.name: wave for wave in fleet.order.waves}
    assert waves["wave 1"].parts == (Part(("m2:/b", "m2:/d"), "m2"), Part(("m1:/c", "m1:/e"), "m1"))
    assert (waves["wave 1"].at_a_time(1), waves["canary"].at_a_time(7)) == (2, 1)
    assert waves["wave 1"].parts[0].paths == ("/b", "/d")


def test_while_a_machine_is_up_to_date_the_next_one_has_the_canary():
    fleet, carrier = run(dict.fromkeys(MACHINES[::2], "up_to_date"), databases=MACHINES, sizes="100%")
    assert carrier.log == ["m1:/a", "m1:/c", "m1:/e", "m2:/b", "m2:/d"]
    assert (fleet.outcome, carrier.waves[1:]) == ("migrated", [("wave 1", "m2:/d")])


def test_a_part_may_have_the_failures_that_the_others_of_its_wave_did_not():
    fleet = Fleet(ordered(MACHINES, "100%"), parse_amount("2"))
    one, two = fleet.order.waves[1].parts
    fleet.ended(Result("m1:/a", "migrated", 0.5))
    assert (fleet.may_fail(one), fleet.may_fail(two)) == (2, 2)
    fleet.ended(Result("m2:/b", "restored", 0.5, error="no"))
    assert (fleet.may_fail(one), fleet.may_fail(two)) == (2, 1)
    fleet.ended(Result("m2:/d", "restored", 0.5, error="no"))
    fleet.ended(Result("m1:/c", "restored", 0.5, error="no"))
    assert (fleet.may_fail(one), fleet.may_fail(two)) == (1, 0)
    assert fleet.why_stopped == "of wave 1 3 failed where 2 may, the last one: m1:/c: no"


def test_what_failed_on_a_machine_before_counts_once_for_the_part_that_goes_on_there(path):
    # The part's own state counts it.
    with opened_state(path, create=True) as state:
        state.begin(ordered(MACHINES, "100%"))
        for result in (Result("m1:/a", "migrated", 0.5), Result("m1:/c", "restored", 0.5, error="no")):
            state.note("ended", **result.as_json())
    fleet = Fleet(ordered(MACHINES, "100%"), parse_amount("1"))
    fleet.take_over(read_state(path), retry_failed=False)
    left_of = dict(zip(("m2", "m1"), Wave("wave 1", tuple(fleet.left)).parts, strict=True))
    assert left_of["m1"].databases == ("m1:/e",)
    assert (fleet.may_fail(left_of["m1"]), fleet.may_fail(left_of["m2"])) == (1, 0)


def test_a_part_that_breaks_keeps_the_results_that_came_before():
    fleet, _ = run({"m1:/c": OSError("no server")}, databases=MACHINES, sizes="100%")
    assert fleet.why_stopped == "2 databases on m1 could not be carried out: OSError: no server"
    assert fleet.results["m1:/a"].outcome == "migrated"
    assert {"m1:/c", "m1:/e"} <= {*fleet.left}
    assert fleet.under_way == {}


def test_what_is_there_for_proof_is_over_with_the_first_that_was_migrated():
    order = Order("f1", {}, "checksum", (Wave("canary", tuple("abcd")),))
    fleet = Fleet(order, parse_amount("0"), for_proof=True)
    fleet, carrier = run({"a": "up_to_date"}, fleet=fleet)
    assert (carrier.log, [wave for wave, _ in carrier.waves]) == (["a", "b"], ["canary"])
    assert (fleet.outcome, fleet.exit_code, fleet.left) == ("migrated", 0, [])
    fleet, carrier = run({"a": "refused"}, fleet=Fleet(order, parse_amount("9"), for_proof=True))
    assert (carrier.log, fleet.outcome) == (["a"], "aborted")
    assert fleet.why_stopped == "the canary failed: why a failed"


def test_what_is_proven_needs_no_canary():
    order = Order("f1", {}, "checksum", (Wave("wave 2", tuple("abcd")),))
    fleet, carrier = run({"a": "restored"}, fleet=Fleet(order, parse_amount("1"), is_proven=True))
    assert carrier.waves == [("wave 2", "abcd")]
    assert (fleet.outcome, fleet.left) == ("failed", [])


def test_a_signal_stops_the_fleet_when_what_is_under_way_has_ended():
    fleet = Fleet(ordered(sizes="9"), parse_amount("0"))
    carrier = MadeUp(fleet, parallel=2)
    plain = carrier.migrate

    def interrupting(database):
        if database != "b":
            return plain(database)
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        # As a child does: it ends only when it is told to.
        while not fleet.is_interrupted:
            threading.Event().wait(0.001)
        return Result("b", "interrupted", 0.1)

    carrier.migrate = interrupting
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_order(fleet, carrier.carry_out)
    finally:
        signal.signal(signal.SIGINT, before)
    assert fleet.results["b"].outcome == "interrupted"
    assert (fleet.outcome, fleet.exit_code, fleet.under_way) == ("interrupted", 1, {})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.jsonl"


def started_again(path, outcomes=(), *, retry_failed=False, allowed="0"):
    """A start that goes on with the state."""
    with opened_state(path, create=False) as state:
        stored = read_state(path)
        state.cut_torn_line()
        fleet = Fleet(stored.order, parse_amount(allowed), state)
        fleet.take_over(stored, retry_failed)
        return run(outcomes, fleet=fleet)


def begun(path, outcomes=(), allowed="0"):
    with opened_state(path, create=True) as state:
        state.begin(ordered())
        return run(outcomes, state=state, allowed=allowed)


def test_a_resume_leaves_out_what_is_finished(path):
    begun(path, {"c": OSError("no room")})
    fleet, carrier = started_again(path)
    assert carrier.log == [*"cdefghij"]
    assert (fleet.outcome, len(fleet.new), len(fleet.results)) == ("migrated", 8, 10)
    fleet, carrier = started_again(path)
    assert (carrier.log, fleet.outcome) == ([], "migrated")


def test_a_resume_leaves_failed_ones_unless_they_are_to_be_tried_again(path):
    begun(path, {"c": "refused", "f": "restored"}, allowed="1")
    fleet, carrier = started_again(path, allowed="1")
    assert (carrier.log, fleet.outcome, fleet.exit_code) == ([], "failed", 1)
    fleet, carrier = started_again(path, retry_failed=True)
    assert (carrier.log, fleet.outcome, fleet.exit_code) == (["c", "f"], "migrated", 0)


def test_a_resume_of_a_wave_that_passed_its_limit_goes_no_further(path):
    begun(path, {"c": "restored"})
    fleet, carrier = started_again(path)
    assert (carrier.log, fleet.outcome) == ([], "aborted")
    assert fleet.why_stopped == "of wave 1 1 failed where 0 may, the last one: why c failed"
    assert started_again(path, allowed="1")[1].log == [*"defghij"]


def test_a_resume_after_a_failed_canary_tries_nothing_but_the_canary(path):
    begun(path, {"a": "restored"})
    assert started_again(path)[1].log == []
    fleet, carrier = started_again(path, {"a": "refused"}, retry_failed=True)
    assert (carrier.log, fleet.outcome) == (["a"], "aborted")
    assert started_again(path, retry_failed=True)[1].log == [*TEN]


@pytest.mark.parametrize("outcome", ["interrupted", "restore_failed"])
def test_a_resume_tries_again_what_was_interrupted_or_needed_an_operator(path, outcome):
    begun(path, {"c": outcome})
    fleet, carrier = started_again(path)
    assert carrier.log[0] == "c"
    assert (fleet.outcome, fleet.exit_code, fleet.results["c"].outcome) == ("migrated", 0, "migrated")


def test_each_result_is_in_the_file_before_the_next_database_starts(path):
    seen = []
    with opened_state(path, create=True) as state:
        state.begin(ordered())
        fleet = Fleet(ordered(), parse_amount("0"), state)
        carrier = MadeUp(fleet)
        plain = carrier.migrate

        def looking(database):
            stored = read_state(path)
            seen.append(("".join(r.database for r in stored.results), "".join(stored.under_way)))
            return plain(database)

        carrier.migrate = looking
        carrier.parallel = 1
        in_order(fleet, carrier.carry_out)
    assert seen[:4] == [("", "a"), ("a", "b"), ("ab", "c"), ("abc", "d")]


def test_a_line_that_a_kill_cut_short_counts_for_nothing_and_spoils_no_other(path):
    begun(path, {"c": OSError("killed")})
    whole = path.read_bytes()
    last_line = whole.rindex(b"\n", 0, whole.index(b'"database": "b", "outcome"')) + 1
    for cut in range(last_line, whole.index(b"\n", last_line) + 1):
        path.write_bytes(whole[:cut])
        assert [result.database for result in read_state(path).results] == ["a"]
        assert read_state(path).under_way == ("b",)
    fleet, carrier = started_again(path)
    assert (carrier.log, fleet.outcome) == ([*"bcdefghij"], "migrated")
    assert read_state(path).left == ()


def test_two_runs_never_have_one_state(path):
    with opened_state(path, create=True) as state:
        for _ in range(2):
            with pytest.raises(RefusedError, match="is under way"), opened_state(path, create=True):
                pass
            # The file is another one then.
            state.begin(ordered())
    with opened_state(path, create=False):
        pass


def test_whoever_waits_for_another_run_says_so_and_has_the_state_when_that_has_ended(path):
    said, had = threading.Event(), threading.Event()

    def wait():
        with opened_state(path, create=True, waits=said.set):
            had.set()

    with opened_state(path, create=True):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert said.wait(10)
        assert not had.is_set()
    waiting.join(10)
    assert had.is_set()


def test_a_state_that_is_not_there_is_made_only_for_a_new_fleet(path):
    with pytest.raises(RefusedError, match="cannot be opened"), opened_state(path, create=False):
        pass
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"SQLite format 3\x00\n",
        b"{}\n",
        b'{"databases": 2}\n',
        b"[]\n",
        b'{"fleet": 1, "databases": 1, "checksum": 2}\n',
    ],
)
def test_a_file_that_is_no_state_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="is not the state of a fleet"):
        read_state(path)
    assert path.read_bytes() == content


def test_a_symlink_and_a_pipe_are_no_state(tmp_path, path):
    path.symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in (path, tmp_path / "pipe"):
        with pytest.raises(RefusedError), opened_state(name, create=True):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_name_that_is_no_text_is_kept(path):
    name = os.fsdecode(b"/data/\xff\n.db")
    order = ordered([name, "b"])
    with opened_state(path, create=True) as state:
        state.begin(order)
        run(state=state, fleet=Fleet(order, parse_amount("0"), state))
    assert read_state(path).order.waves == order.waves
    assert [result.database for result in read_state(path).results] == [name, "b"]


def test_the_report_has_a_row_for_each_wave_and_each_database():
    fleet, _ = run({"b": "refused", "e": "up_to_date", "f": "restored", "g": "restored"}, allowed="1")
    rows = {row.wave: (row.databases, row.migrated, row.up_to_date, row.failed, row.left) for row in wave_rows(fleet)}
    assert rows == {
        "canary": (1, 1, 0, 0, 0),
        "wave 1": (3, 2, 0, 1, 0),
        "wave 2": (3, 0, 1, 2, 0),
        "wave 3": (3, 0, 0, 0, 3),
    }
    told = as_json(fleet, None)
    assert [(row["wave"], row["database"], row["outcome"]) for row in told["databases"]][:3] == [
        ("canary", "a", "migrated"),
        ("wave 1", "b", "refused"),
        ("wave 1", "c", "migrated"),
    ]
    assert (told["outcome"], told["left"], told["p50_s"], told["p95_s"]) == ("aborted", [*"hij"], 0.5, 0.5)
