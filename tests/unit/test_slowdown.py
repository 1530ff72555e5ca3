"""Slower than usual, told from noise: on simulated days the quiet ones raise no alarm, and a real jump always does."""

from collections import Counter
from random import Random

import pytest

from migrator.health.slowdown import Timed, Usual, measured, usual

BASES_MS = (0.4, 1, 3, 10, 35, 45, 60, 80, 120, 200)
"""What the processor needs for each of ten tools on an ordinary day."""
BUDGET_MS = 500.0


def timed(cpu_ms, reference_ms=1.0, p95_ms=1.0):
    return Timed(p95_ms, p95_ms, cpu_ms, reference_ms)


def steady(cpu_ms, checks=30):
    """A history with a MAD of 1 % of its median."""
    return [timed(cpu_ms * (0.99, 1.0, 1.01)[n % 3]) for n in range(checks)]


class World:
    """Days of one database: everybody's noise, and what passes by. `noise` is the spread of a tool's day."""

    def __init__(self, seed, noise=0.05):
        self.random, self.noise = Random(seed), noise
        self.history = {base: [] for base in BASES_MS}

    def day(self, factor=1.0, quiet=False):
        """The tools that are found slower on a day on which each takes `factor` times as long as on the first."""
        random = self.random
        # Another host under the virtual machine, a lower clock rate; `quiet` is a day like most.
        machine = 1.0 if quiet else random.lognormvariate(0, 0.1)
        if not quiet and random.random() < 0.05:
            machine *= random.uniform(1.5, 4)
        found, times = [], {}
        for base in BASES_MS:
            own = random.lognormvariate(0, self.noise)

            def measure(base=base, own=own):
                passing = random.uniform(1.5, 5) if not quiet and random.random() < 0.03 else 1
                took = factor * base * own * machine * random.lognormvariate(0, self.noise) * passing
                return timed(took, machine * random.lognormvariate(0, 0.02))

            times[base], _, slower = measured(measure, usual(self.history[base]), BUDGET_MS)
            if slower:
                found.append(base)
        if not found:
            for base in BASES_MS:
                self.history[base].append(times[base])
        return found


def test_a_thousand_quiet_days_raise_next_to_no_alarm():
    world = World(seed=1)
    alarms = [found for _ in range(1000) if (found := world.day())]
    # Of ten tools; three measurements in a row that something passing by made slow.
    assert len(alarms) <= 1


def test_where_everything_is_twice_as_noisy_alarms_stay_rare():
    world = World(seed=2, noise=0.1)
    assert sum(bool(world.day()) for _ in range(1000)) <= 5


@pytest.mark.parametrize("seed", range(20))
def test_a_tool_that_takes_twice_as_long_is_always_found_where_that_is_20_ms(seed):
    world = World(seed)
    for _ in range(40):
        world.day()
    assert world.day(factor=2, quiet=True) == [35, 45, 60, 80, 120, 200]


def test_what_grows_with_the_rows_is_no_slowdown():
    world = World(seed=3)
    found = Counter()
    for day in range(200):
        # Ten times as long after two hundred days.
        found.update(world.day(factor=10 ** (day / 200)))
    assert found.total() <= 1


@pytest.mark.parametrize(("cpu_ms", "limit_ms"), [(1, 21), (30, 50), (40, 60), (100, 150)])
def test_the_limit_is_20_ms_above_what_is_usual_or_half_as_much_again(cpu_ms, limit_ms):
    assert usual(steady(cpu_ms)).limit_ms(1.0) == pytest.approx(limit_ms)


def test_a_noisy_tool_has_a_wider_limit_and_a_few_odd_days_change_nothing():
    even = [timed(100 + 20 * (n % 2) - 10) for n in range(30)]
    # The modified z-score of an outlier is 3.5: 3.5 / 0.6745 * 10 = 51.9.
    assert usual(even).limit_ms(1.0) == pytest.approx(100 + 51.89, abs=0.01)
    odd = [*steady(100)[:22], *(timed(5000) for _ in range(8))]
    assert usual(odd).limit_ms(1.0) == pytest.approx(150.75)


def test_only_the_last_thirty_checks_count():
    assert usual([*steady(500, 100), *steady(40, 30)]).cpu_ms == 40


@pytest.mark.parametrize(("checks", "known"), [(0, False), (7, False), (8, True)])
def test_fewer_than_eight_checks_say_nothing(checks, known):
    assert (usual(steady(40, checks)) is not None) == known


def test_a_slower_machine_moves_the_limit_and_a_faster_one_does_not():
    was = Usual(cpu_ms=100, mad_ms=1, reference_ms=2.0)
    assert was.limit_ms(reference_ms=6.0) == pytest.approx(450)
    assert was.limit_ms(reference_ms=1.0) == pytest.approx(150)


def test_a_history_from_a_slower_machine_is_evened_out():
    history = [timed(100 * factor, reference_ms=2 * factor) for factor in (1, 1, 1, 1, 1, 3, 1.5, 1, 0.8, 1)]
    assert usual(history) == Usual(cpu_ms=pytest.approx(100), mad_ms=pytest.approx(0, abs=1e-9), reference_ms=2.0)


def returning(*found):
    left = iter(found)
    return lambda: next(left)


def test_the_first_measurement_that_is_as_usual_ends_the_matter():
    was = usual(steady(40))
    assert measured(returning(timed(40)), was, BUDGET_MS) == (timed(40), False, False)
    assert measured(returning(timed(90), timed(41)), was, BUDGET_MS) == (timed(41), False, False)


def test_slower_is_what_is_slower_three_times():
    was = usual(steady(40))
    assert measured(returning(timed(90), timed(70), timed(80)), was, BUDGET_MS) == (timed(80), False, True)
    assert measured(returning(timed(90), timed(70), timed(59)), was, BUDGET_MS) == (timed(59), False, False)


def test_over_budget_is_what_is_so_three_times_with_a_history_or_without():
    slow, quick = timed(1, p95_ms=501), timed(1, p95_ms=500)
    for was in (None, usual(steady(40))):
        assert measured(returning(slow, slow, slow), was, BUDGET_MS) == (slow, True, False)
        assert measured(returning(slow, slow, quick), was, BUDGET_MS) == (quick, False, False)


def test_one_that_is_slower_once_and_over_budget_once_is_neither():
    was = usual(steady(40))
    slower, over = timed(90), timed(40, p95_ms=600)
    assert measured(returning(slower, over), was, BUDGET_MS) == (over, False, False)
