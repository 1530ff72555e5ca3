"""Charts as SVG that stands in a page by itself: no script, no font and no style from elsewhere, in the page's colours.

Drawn by pygal, which is imported only where a chart is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

Series = Sequence[tuple[datetime, float | None]]

_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#9c755f", "#edc948")
"""Tableau 10 without its grey and pink: legible on white and on black."""
_LIMIT_COLOUR = "#cf222e"
_POINTS = 120
"""More than a chart of this width shows apart."""
_SPARKLINE_STYLE = "inline:.sparkline * { fill: none; stroke: none } .sparkline .line { stroke: currentColor }"
_STEPS = (1, 2, 5)
_A_FEW_DAYS = timedelta(days=3)


@dataclass(frozen=True)
class Limit:
    """A line that no value may cross."""

    name: str
    value: float


def line_chart(
    series: Mapping[str, Series],
    shown: Callable[[float], str],
    *,
    limit: Limit | None = None,
    logarithmic: bool = False,
) -> str:
    """Values over time, a line for each name, as an SVG element; values of None are left out.

    `shown` writes a value beside its axis. `logarithmic` is for values of different sizes; those that are not above
    zero have no place on such an axis and are left out. "" where there are no values of two moments.
    """
    drawn = {name: _thinned(points, positive=logarithmic) for name, points in series.items()}
    known = [point for points in drawn.values() for point in points if point[1] is not None]
    values, moments = [value for _, value in known if value is not None], [at for at, _ in known]
    if len({*moments}) < 2:
        return ""
    low, high = min(values), max([*values, *([limit.value] if limit else [])])
    chart = _chart(
        logarithmic=logarithmic,
        axis=_log_axis(low, high) if logarithmic else _linear_axis(high),
        colours=(*(colour for colour, _ in zip(cycle(_COLOURS), series, strict=False)), _LIMIT_COLOUR),
        value_formatter=shown,
        x_value_formatter=_days if max(moments) - min(moments) > _A_FEW_DAYS else _minutes,
        show_legend=len(series) > 1 or limit is not None,
    )
    for name, points in drawn.items():
        chart.add(name, points)
    if limit is not None:
        line = [(min(moments), limit.value), (max(moments), limit.value)]
        chart.add(limit.name, line, stroke_style={"dasharray": "6, 4", "width": 1.5})
    return str(chart.render(is_unicode=True))


def sparkline(values: Sequence[float | None]) -> str:
    """The values as a line without axes, as high as a line of text; "" where there are fewer than two."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    import pygal  # type: ignore[import-untyped]

    chart = pygal.Line(
        style=_style(("currentColor",)), css=(_SPARKLINE_STYLE,),
        classes=("sparkline",), disable_xml_declaration=True, include_x_axis=True,
    )  # fmt: skip
    chart.add_xml_filter(_bare)
    chart.add("", known[-_POINTS:])
    return str(chart.render_sparkline(width=120, height=20, margin=1, is_unicode=True))


def _chart(*, axis: Sequence[float], colours: Sequence[str], **settings: object) -> Any:
    import pygal

    chart = pygal.DateTimeLine(
        style=_style(colours),
        disable_xml_declaration=True,
        range=(axis[0], axis[-1]),
        y_labels=axis,
        x_labels_major_count=5,
        show_minor_x_labels=False,
        show_dots=False,
        legend_at_bottom=True,
        truncate_legend=-1,
        truncate_label=-1,
        width=800,
        height=400,
        margin=10,
        **settings,
    )
    chart.add_xml_filter(_bare)
    return chart


def _days(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _minutes(moment: datetime) -> str:
    return f"{moment:%m-%d %H:%M}"


def _bare(svg: Any) -> Any:
    """Without what pygal adds: its settings as a script, which repeats the names of the lines, remarks, its name."""
    for parent in list(svg.iter()):
        for child in list(parent):
            # The tag of a comment is no text.
            if child.tag == "script" or not isinstance(child.tag, str) or (parent is svg and child.tag == "title"):
                parent.remove(child)
    return svg


def _style(colours: Sequence[str]) -> Any:
    from pygal.style import Style  # type: ignore[import-untyped]

    ink, faint = "currentColor", "#8886"
    return Style(
        background="transparent", plot_background="transparent", foreground=ink, foreground_strong=ink,
        foreground_subtle=faint, guide_stroke_color=faint, major_guide_stroke_color=faint, font_family="inherit",
        label_font_size=12, major_label_font_size=12, legend_font_size=12, opacity="1", colors=tuple(colours),
    )  # fmt: skip


def _thinned(points: Series, *, positive: bool) -> list[tuple[datetime, float | None]]:
    """At most `_POINTS` of them, of each stretch the highest: a peak is what one looks for."""
    usable = [(at, value if value is None or not positive or value > 0 else None) for at, value in points]
    each = max(1, math.ceil(len(usable) / _POINTS))
    stretches = [usable[start : start + each] for start in range(0, len(usable), each)]
    return [max(stretch, key=lambda point: -math.inf if point[1] is None else point[1]) for stretch in stretches]


def _log_axis(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from below `low` to above `high`; of a wide range only the powers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = _STEPS if len(powers) <= 4 else _STEPS[:1]
    marks = [step * 10.0**power for power in powers for step in steps]
    first = max((n for n, mark in enumerate(marks) if mark <= low), default=0)
    last = next((n for n, mark in enumerate(marks) if mark >= high), len(marks) - 1)
    return marks[first : max(last, first + 1) + 1]


def _linear_axis(high: float) -> list[float]:
    """From zero to above `high` in four to ten equal steps of 1, 2 or 5 times a power of ten."""
    high = max(high, 1e-9)
    power = 10.0 ** math.floor(math.log10(high / 4))
    step = max(mark * power for mark in _STEPS if mark * power <= high / 4)
    return [n * step for n in range(math.ceil(high / step) + 1)]
