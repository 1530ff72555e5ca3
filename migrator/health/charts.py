"""Charts of values over time, as SVG that stands in a page by itself; pygal is imported only where one is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from migrator.charts import ALONE, STEPS, bare, linear_axis, style

Series = Sequence[tuple[datetime, float | None]]

_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#9c755f", "#edc948")
"""Tableau 10 without its grey and pink: legible on white and on black."""
_LIMIT_COLOUR = "#cf222e"
_POINTS = 120
"""More than a chart of this width shows apart."""
_SPARKLINE_STYLE = "inline:.sparkline * { fill: none; stroke: none } .sparkline .line { stroke: currentColor }"
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
        axis=_log_axis(low, high) if logarithmic else linear_axis(high),
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
        style=style(("currentColor",)), css=(_SPARKLINE_STYLE,),
        classes=("sparkline",), disable_xml_declaration=True, include_x_axis=True,
    )  # fmt: skip
    chart.add_xml_filter(bare)
    chart.add("", known[-_POINTS:])
    return str(chart.render_sparkline(width=120, height=20, margin=1, is_unicode=True))


def _chart(*, axis: Sequence[float], colours: Sequence[str], **settings: object) -> Any:
    import pygal

    chart = pygal.DateTimeLine(
        style=style(colours),
        range=(axis[0], axis[-1]),
        y_labels=axis,
        x_labels_major_count=5,
        show_minor_x_labels=False,
        show_dots=False,
        width=800,
        height=400,
        **ALONE,
        **settings,
    )
    chart.add_xml_filter(bare)
    return chart


def _days(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _minutes(moment: datetime) -> str:
    return f"{moment:%m-%d %H:%M}"


def _thinned(points: Series, *, positive: bool) -> list[tuple[datetime, float | None]]:
    """At most `_POINTS` of them, of each stretch the highest: a peak is what one looks for."""
    usable = [(at, value if value is None or not positive or value > 0 else None) for at, value in points]
    each = max(1, math.ceil(len(usable) / _POINTS))
    stretches = [usable[start : start + each] for start in range(0, len(usable), each)]
    return [max(stretch, key=lambda point: -math.inf if point[1] is None else point[1]) for stretch in stretches]


def _log_axis(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from below `low` to above `high`; of a wide range only the powers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = STEPS if len(powers) <= 4 else STEPS[:1]
    marks = [step * 10.0**power for power in powers for step in steps]
    first = max((n for n, mark in enumerate(marks) if mark <= low), default=0)
    last = next((n for n, mark in enumerate(marks) if mark >= high), len(marks) - 1)
    return marks[first : max(last, first + 1) + 1]
