"""Charts that stand in a page by themselves: what they draw, and that they ask nothing of anybody else."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from migrator.health.charts import Limit, _log_axis, line_chart, sparkline

START = datetime(2026, 11, 1, 3, 30, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def daily(*values):
    return [(START + timedelta(days=n), value) for n, value in enumerate(values)]


def ms(value):
    return f"{value:g} ms"


def parsed(svg):
    return ElementTree.fromstring(svg)


def texts(svg):
    return [element.text for element in parsed(svg).iter(f"{SVG}text") if element.text]


def lines(svg):
    """The points of each drawn line, as (x, y); y grows downwards."""
    drawn = [path.get("d") for path in parsed(svg).iter(f"{SVG}path") if path.get("class") == "line reactive nofill"]
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", d)] for d in drawn]


def test_every_line_is_drawn_with_its_name_and_its_points_in_order():
    svg = line_chart({"add_todo": daily(1, 2, 4), "list_todos": daily(4, 2, 1)}, ms)
    assert {"add_todo", "list_todos"} <= {*texts(svg)}
    rising, falling = lines(svg)
    assert len(rising) == len(falling) == 3
    assert rising[0][1] > rising[1][1] > rising[2][1]
    assert falling[0][1] < falling[1][1] < falling[2][1]


def test_the_limit_is_a_line_of_its_own_above_the_values():
    svg = line_chart({"add_todo": daily(1, 2, 4)}, ms, limit=Limit("budget", 500.0), logarithmic=True)
    values, limit = lines(svg)
    assert "budget" in texts(svg)
    assert limit[0][1] == limit[1][1] < min(y for _, y in values)
    assert "dasharray" in svg


def test_the_axes_say_what_stands_there():
    said = texts(line_chart({"a": daily(*range(1, 40))}, ms))
    assert {"0 ms", "10 ms", "40 ms"} <= {*said}
    days = [text for text in said if re.fullmatch(r"2026-1[12]-\d\d", text)]
    assert len(days) >= 4 and min(days) >= "2026-11-01" and max(days) <= "2026-12-09"


def test_within_a_few_days_the_axis_has_the_time_of_day():
    hourly = [(START + timedelta(hours=n), 1.0 + n) for n in range(30)]
    assert any(re.fullmatch(r"11-0\d \d\d:\d\d", text) for text in texts(line_chart({"a": hourly}, ms)))


def test_what_is_not_known_is_left_out():
    assert len(lines(line_chart({"a": daily(1, None, 3, 4)}, ms))[0]) == 3


def test_on_a_logarithmic_axis_equal_factors_are_equal_distances_and_zero_has_no_place():
    (line,) = lines(line_chart({"a": daily(0, 1, 10, 100)}, ms, logarithmic=True))
    assert len(line) == 3
    first, second = line[0][1] - line[1][1], line[1][1] - line[2][1]
    assert first == pytest.approx(second, rel=0.01) and first > 0


def test_of_many_points_the_peaks_stay():
    values = [1.0] * 5000
    values[2345] = 50.0
    (line,) = lines(line_chart({"a": daily(*values)}, ms))
    assert len(line) <= 120
    assert sum(y < line[0][1] for _, y in line) == 1


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": daily(5)}, {"a": daily(None, None)}, {"a": daily(0, 0)}])
def test_without_values_of_two_moments_there_is_no_chart(series):
    assert line_chart(series, ms, logarithmic=True) == ""


def test_zeroes_are_drawn_where_they_have_a_place():
    assert len(lines(line_chart({"a": daily(0, 0)}, ms))[0]) == 2


@pytest.mark.parametrize(
    "svg", [line_chart({"</script><b>": daily(1, 2, 3), "b": daily(2, 3, 4)}, ms), sparkline([1, 2])]
)
def test_a_chart_needs_nothing_from_elsewhere_and_runs_nothing(svg):
    tags = {element.tag.removeprefix(SVG) for element in parsed(svg).iter()}
    assert not tags & {"script", "image", "use", "a", "foreignObject"}
    assert "href" not in svg and "@import" not in svg and "url(" not in svg
    assert re.findall(r"https?://[^\"<> ]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "Pygal" not in svg and "<!--" not in svg


def test_names_are_text_and_no_markup():
    svg = line_chart({"</script><b>": daily(1, 2), "b": daily(2, 3)}, ms)
    assert "</script>" not in svg and "<b>" not in svg
    assert "</script><b>" in texts(svg)


def test_a_chart_fits_its_page():
    root = parsed(line_chart({"a": daily(1, 2)}, ms))
    assert root.get("viewBox") == "0 0 800 400"
    assert root.get("width") is None


def test_a_sparkline_has_every_value_and_begins_at_zero():
    (line,) = lines(sparkline([100, 101, None, 102]))
    assert len(line) == 3
    # From the ground 102 and 100 look much the same.
    assert abs(line[0][1] - line[2][1]) < 2


@pytest.mark.parametrize("values", [[], [1], [None, 1]])
def test_one_value_makes_no_sparkline(values):
    assert sparkline(values) == ""


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0.4, 500, [0.1, 1, 10, 100, 1000]),
        (3, 40, [2, 5, 10, 20, 50]),
        (10, 10, [10, 20]),
        (1, 1_000_000, [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]),
    ],
)
def test_a_logarithmic_axis_holds_its_values_between_round_numbers(low, high, marks):
    assert _log_axis(low, high) == pytest.approx(marks)


def test_the_library_is_loaded_only_for_a_chart():
    code = "import sys, migrator.health.report, migrator.report; sys.exit('pygal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
