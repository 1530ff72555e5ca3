"""Bars that stand in a page by themselves: what they draw, in which order, and that they ask nothing of anybody."""

import base64
import re
from xml.etree import ElementTree

import pytest

from migrator.charts import as_picture, bar_chart, linear_axis

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert(1)</script>\x00\x1b\ud800"


def ms(value):
    return f"{value:g} ms"


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text") if element.text]


def bars(svg, series=0):
    """Top and width of each bar of a series, from the top."""
    groups = [g for g in ElementTree.fromstring(svg).iter(f"{SVG}g") if f"serie-{series} " in g.get("class", "")]
    drawn = [r for group in groups for r in group.iter(f"{SVG}rect") if "rect" in r.get("class").split()]
    return sorted((float(r.get("y")), float(r.get("width"))) for r in drawn)


def widths(svg, series=0):
    return [width for _, width in bars(svg, series)]


def test_bars_stand_in_the_order_of_their_names_and_are_as_long_as_their_values():
    svg = bar_chart(["slow", "quick"], {"after": [4.0, 1.0]}, ms)
    slow, quick = widths(svg)
    assert slow == pytest.approx(4 * quick, rel=0.01)
    names = [text for text in texts(svg) if text in ("slow", "quick")]
    heights = {e.text: float(e.get("y")) for e in ElementTree.fromstring(svg).iter(f"{SVG}text") if e.text in names}
    assert heights["slow"] < heights["quick"]


def test_of_two_series_each_has_its_bar_and_its_name():
    svg = bar_chart(["a", "b"], {"before": [2.0, None], "after": [4.0, 1.0]}, ms)
    assert {"before", "after"} <= {*texts(svg)}
    before, after = bars(svg, 0), bars(svg, 1)
    assert [len(before), len(after)] == [1, 2]
    assert before[0][0] < after[0][0] < after[1][0]
    assert 2 * before[0][1] == pytest.approx(after[0][1], rel=0.01)


def test_a_series_alone_is_in_colour():
    svg = bar_chart(["a"], {"seconds": [1]}, ms)
    assert re.findall(r"\.color-0 a:visited\{stroke:#\w+;fill:(#\w+)", svg) == ["#4e79a7"]


def test_the_second_series_is_the_one_in_colour():
    svg = bar_chart(["a"], {"before": [1], "after": [1]}, ms)
    assert re.findall(r"\.color-\d a:visited\{stroke:#\w+;fill:(#\w+)", svg) == ["#a0a0a0", "#4e79a7"]


def test_one_series_needs_no_name():
    assert "seconds" not in texts(bar_chart(["a"], {"seconds": [1.0]}, ms))


def test_the_axis_begins_at_zero_and_has_few_marks():
    marks = [text for text in texts(bar_chart(["a"], {"after": [9.0]}, ms)) if text.endswith(" ms")]
    assert marks[0] == "0 ms" and 3 <= len(marks) <= 4


def test_the_last_mark_of_the_axis_is_not_cut_off():
    chart = ElementTree.fromstring(bar_chart(["a"], {"after": [11.9]}, ms))
    plots = [g.get("transform") for g in chart.iter(f"{SVG}g") if g.get("class") == "plot"]
    left = float(re.match(r"translate\(([\d.]+),", plots[0])[1])
    (mark,) = [e for e in chart.iter(f"{SVG}text") if e.text == "12 ms"]
    # Five characters of twelve points, centred at x.
    assert left + float(mark.get("x")) + 5 * 7.2 / 2 <= 420


@pytest.mark.parametrize("series", [{}, {"after": []}, {"before": [None], "after": [None]}])
def test_without_values_there_is_no_chart(series):
    assert bar_chart(["a"], series, ms) == ""


def test_where_all_is_nothing_the_names_are_there():
    assert {"quick", "quicker"} <= {*texts(bar_chart(["quick", "quicker"], {"after": [0.0, 0.0]}, ms))}


def test_of_a_long_name_both_ends_are_shown():
    name = "back up /srv/a/very/long/path/to/the/database/ltmc.db"
    (shown,) = [text for text in texts(bar_chart([name], {"after": [1.0]}, ms)) if "…" in text]
    assert shown == "back up /srv/a/ve…database/ltmc.db"
    assert "x" * 34 in texts(bar_chart(["x" * 34], {"after": [1.0]}, ms))


def test_whatever_a_name_holds_the_chart_is_xml_that_runs_nothing():
    svg = bar_chart([HOSTILE, "b"], {HOSTILE.replace("\x00\x1b\ud800", ""): [1.0, 2.0], "after": [2.0, 1.0]}, ms)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert not tags & {"script", "image", "use", "a", "foreignObject"}
    assert "<script" not in svg
    assert "url(" not in svg and "@import" not in svg and "href" not in svg


def test_a_picture_is_the_chart_on_white_paper():
    kind, data = as_picture(bar_chart(["ü"], {"after": [1.0]}, ms)).split(",", 1)
    assert kind == "data:image/svg+xml;base64"
    drawn = base64.b64decode(data).decode()
    assert ElementTree.fromstring(drawn).get("style") == "background:#fff;color:#222;font-family:sans-serif"
    assert "ü" in texts(drawn)


@pytest.mark.parametrize(
    ("high", "marks"),
    [(9, [0, 2, 4, 6, 8, 10]), (1.7e6, [n * 2e5 for n in range(10)]), (4, [0, 1, 2, 3, 4])],
)
def test_a_linear_axis_goes_from_zero_beyond_its_values_in_round_steps(high, marks):
    assert linear_axis(high) == pytest.approx(marks)
