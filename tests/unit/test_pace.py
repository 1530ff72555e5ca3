"""How long the lock stays free after a hold, how much is done in one, and how an operator slows the work."""

from itertools import accumulate, pairwise

import pytest

from migrator.pace import Pace, pause_after, telling, throttle_path

# What SQLite's busy handler sleeps between tries, from sqliteDefaultBusyCallback in sqlite.org/src/file/src/main.c.
SLEEPS_MS = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50] + [100] * 60
TRIES_MS = [0, *accumulate(SLEEPS_MS)]


class Clock:
    """Time that passes only while somebody sleeps; `on_sleep` is what happens meanwhile, by the number of the sleep."""

    def __init__(self, on_sleep=None):
        self.now, self.slept, self._on_sleep = 0.0, [], on_sleep or {}

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self._on_sleep.get(len(self.slept), lambda: None)()
        self.slept.append(seconds)
        self.now += seconds


def paced(throttle=None, on_wait=lambda: None, on_sleep=None):
    clock = Clock(on_sleep)
    return Pace(throttle, on_wait, clock, clock.sleep), clock


@pytest.mark.parametrize("hold_ms", [0.1, 1, 2.9, 3, 7.5, 12, 18, 18.1, 33, 52.9, 80, 137, 250, 500, 1500])
def test_a_writer_that_came_during_a_hold_finds_the_lock_free_before_the_next(hold_ms):
    free_until = hold_ms + 1000 * pause_after(hold_ms / 1000)
    for arrival in (hold_ms * n / 500 for n in range(500)):
        tries = (arrival + t for t in TRIES_MS)
        assert any(hold_ms <= t < free_until for t in tries), arrival


def test_a_writer_has_time_for_its_transaction_after_its_last_try():
    for hold_ms in (0.5, 12, 40, 120):
        free_until = hold_ms + 1000 * pause_after(hold_ms / 1000)
        latest = max(
            min(arrival + t for t in TRIES_MS if arrival + t >= hold_ms)
            for arrival in (hold_ms * n / 500 for n in range(500))
        )
        assert free_until - latest >= 2.5


def test_a_short_hold_is_not_followed_by_a_long_pause():
    assert pause_after(0.0005) <= 0.005
    assert pause_after(0.012) <= 0.015


def test_rows_grow_by_and_by_while_holds_are_short():
    pace, _ = paced()
    sizes = [pace.rows]
    for _ in range(20):
        pace.held(0.001, pace.rows)
        sizes.append(pace.rows)
    assert sizes[0] == 50
    assert all(before < after <= before * 1.3 for before, after in pairwise(sizes))


def test_rows_shrink_at_once_after_a_long_hold():
    pace, _ = paced()
    pace.rows = 1000
    pace.held(0.12, 1000)
    assert pace.rows == 100


def test_rows_settle_where_a_hold_takes_its_time():
    pace, _ = paced()
    for _ in range(60):
        pace.held(pace.rows * 0.0001, pace.rows)
    assert 110 <= pace.rows <= 120


def test_rows_never_fall_so_low_that_the_work_stands_still():
    pace, _ = paced()
    for _ in range(10):
        pace.held(5.0, pace.rows)
    assert pace.rows == 10
    for _ in range(5):
        pace.held(0.001, pace.rows)
    assert pace.rows > 20


def test_a_hold_that_had_little_to_do_says_nothing_about_the_next():
    pace, _ = paced()
    pace.held(0.001, 3)
    assert pace.rows == 50


def test_a_hold_that_was_slow_with_few_rows_counts():
    pace, _ = paced()
    pace.held(0.024, 3)
    assert pace.rows == 25


def test_a_hold_of_no_time_is_no_division_by_zero():
    pace, _ = paced()
    pace.held(0.0, 50)
    assert pace.rows == 65


def test_time_that_was_spent_without_the_lock_is_part_of_the_pause():
    pace, clock = paced()
    pace.held(0.012, 50)
    clock.now += 0.004
    pace.pause()
    assert sum(clock.slept) == pytest.approx(pause_after(0.012) - 0.004)
    clock.slept.clear()
    pace.held(0.012, 50)
    clock.now += 1.0
    pace.pause()
    assert clock.slept == []


def test_before_the_first_hold_nobody_waits():
    pace, clock = paced()
    pace.pause()
    assert clock.slept == []


@pytest.mark.parametrize(("text", "factor"), [("4", 4), (" 2.5\n", 2.5), ("1", 1), ("0", 1), ("-3", 1), ("0.1", 1)])
def test_a_number_in_the_throttle_file_makes_each_pause_as_many_times_as_long(tmp_path, text, factor):
    throttle = throttle_path(tmp_path / "live.db")
    assert throttle == tmp_path / "live.db.migration-throttle"
    throttle.write_text(text)
    pace, clock = paced(throttle)
    pace.held(0.012, 50)
    pace.pause()
    assert sum(clock.slept) == pytest.approx(factor * pause_after(0.012))


@pytest.mark.parametrize("text", ["stop", "", "1 2", "nan", "inf", "-inf", "\x00"])
def test_anything_else_in_it_holds_the_work_until_it_is_gone(tmp_path, text):
    throttle, waited = tmp_path / "throttle", []
    throttle.write_text(text)
    pace, clock = paced(throttle, lambda: waited.append(clock.now), {3: throttle.unlink})
    pace.held(0.012, 50)
    pace.pause()
    assert len(waited) == 4
    assert clock.slept == [pytest.approx(0.2)] * 4


def test_bytes_that_are_no_text_hold_the_work_as_well(tmp_path):
    throttle = tmp_path / "throttle"
    throttle.write_bytes(b"\xff\xfe2")
    pace, clock = paced(throttle, on_sleep={0: lambda: throttle.write_text("2")})
    pace.held(0.112, 50)
    pace.pause()
    assert len(clock.slept) in (1, 2)


def test_what_the_waiting_raises_ends_it(tmp_path):
    throttle = tmp_path / "throttle"
    throttle.write_text("stop")

    def cancelled():
        raise KeyboardInterrupt

    pace, clock = paced(throttle, cancelled)
    with pytest.raises(KeyboardInterrupt):
        pace.pause()
    assert clock.slept == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("banana\n", "'banana' is no number"),
        ("", "'' is no number"),
        ("pause\n", "'pause'"),
        ("1e9", "'1e9'"),
        ("x" * 99, f"{'x' * 20!r} is no number"),
    ],
)
def test_a_pause_by_the_throttle_is_told_at_once_and_again_every_minute(tmp_path, text, said):
    throttle, told = tmp_path / "live.db.migration-throttle", []
    throttle.write_text(text)
    clock = Clock({700: throttle.unlink})
    pace = Pace(throttle, clock=clock, sleep=clock.sleep, tell=lambda message: told.append((clock.now, message)))
    pace.held(0.012, 50)
    pace.pause()
    assert [round(at) for at, _ in told] == [0, 60, 120]
    assert {message for _, message in told} == {f"paused by {throttle} ({said}); remove that file to go on"}


def test_a_throttle_that_makes_pauses_a_little_longer_is_not_told(tmp_path):
    throttle, told = tmp_path / "throttle", []
    throttle.write_text("4")
    clock = Clock()
    pace = Pace(throttle, clock=clock, sleep=clock.sleep, tell=told.append)
    pace.held(0.012, 50)
    pace.pause()
    assert clock.slept and told == []


def test_a_wait_is_told_after_two_seconds_and_again_each_ten():
    told = []
    waited = telling(told.append, "waiting")
    counts = {seconds: waited(seconds) or len(told) for seconds in (0.0, 1.9, 2.0, 2.1, 11.9, 12.0, 21.9, 22.0)}
    assert counts == {0.0: 0, 1.9: 0, 2.0: 1, 2.1: 1, 11.9: 1, 12.0: 2, 21.9: 2, 22.0: 3}


def test_without_a_throttle_file_it_goes_at_full_speed(tmp_path):
    pace, clock = paced(tmp_path / "none")
    pace.held(0.012, 50)
    pace.pause()
    assert sum(clock.slept) == pytest.approx(pause_after(0.012))


def test_a_throttle_that_was_set_too_high_can_be_taken_back(tmp_path):
    throttle, waited = tmp_path / "throttle", []
    throttle.write_text("1000000")
    pace, clock = paced(throttle, lambda: waited.append(clock.now), {3: throttle.unlink})
    pace.held(0.012, 50)
    pace.pause()
    assert clock.slept == [pytest.approx(0.2)] * 4
    assert waited, "nobody could cancel meanwhile"


def test_a_throttle_of_any_size_is_no_error(tmp_path):
    throttle = tmp_path / "throttle"
    throttle.write_text("1e300")
    pace, clock = paced(throttle, on_sleep={0: throttle.unlink})
    pace.held(0.012, 50)
    pace.pause()
    assert max(clock.slept) < 1
