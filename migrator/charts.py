"""Charts as SVG that stands in a page by itself: no script, no font and no style from elsewhere, in the page's colours.

Drawn by pygal, which is imported only where a chart is asked for.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

STEPS = (1, 2, 5)
"""Times a power of ten: what the marks of an axis stand at."""
_INK = "currentColor"
_FAINT = "#8886"
_BAR_COLOURS = ("#a0a0a0", "#4e79a7")
"""Grey and blue of Tableau 10: legible on white and on black."""
_LABEL_CHARACTERS = 34
_MARKS = 4
_ON_PAPER = 'style="background:#fff;color:#222;font-family:sans-serif" '


def bar_chart(names: Sequence[str], series: Mapping[str, Sequence[float | None]], shown: Callable[[float], str]) -> str:
    """A bar for each of `names`, from the top, in each of one or two `series`, as an SVG element; None has no bar.
    Of two the second, which matters, is the one in colour.

    `shown` writes a value below its axis. Wide enough for a telephone held upright. "" where there are no values.
    """
    known = [value for values in series.values() for value in values if value is not None]
    if not known:
        return ""
    import pygal  # type: ignore[import-untyped]

    axis = linear_axis(max(known))
    chart = pygal.HorizontalBar(
        style=style(_BAR_COLOURS[-len(series) :]),
        range=(axis[0], axis[-1]),
        y_labels=axis[:: math.ceil(len(axis) / _MARKS)],
        value_formatter=shown,
        show_legend=len(series) > 1,
        width=420,
        height=60 + (16 + 6 * (len(series) - 1)) * len(names),
        spacing=4,
        # Half of the last mark of the axis stands there.
        margin_right=24,
        **ALONE,
    )
    chart.add_xml_filter(bare)
    # pygal begins at the bottom.
    chart.x_labels = [_label(name) for name in reversed(names)]
    for title, values in series.items():
        chart.add(title, [*reversed(values)])
    return str(chart.render(is_unicode=True))


def as_picture(chart: str) -> str:
    """The chart as the address of a picture on white paper, for pages whose colours it cannot take over."""
    drawn = chart.replace("<svg ", f"<svg {_ON_PAPER}", 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"


ALONE: Mapping[str, Any] = {
    "disable_xml_declaration": True,
    "legend_at_bottom": True,
    "truncate_legend": -1,
    "truncate_label": -1,
    "margin": 10,
}
"""Settings of pygal for a chart in a page."""


def style(colours: Sequence[str]) -> Any:
    """pygal's style in the colours and the font of the page, but for those of the data."""
    from pygal.style import Style  # type: ignore[import-untyped]

    return Style(
        background="transparent", plot_background="transparent", foreground=_INK, foreground_strong=_INK,
        foreground_subtle=_FAINT, guide_stroke_color=_FAINT, major_guide_stroke_color=_FAINT, font_family="inherit",
        label_font_size=12, major_label_font_size=12, legend_font_size=12, opacity="1", colors=tuple(colours),
    )  # fmt: skip


def bare(svg: Any) -> Any:
    """Without what pygal adds: its settings as a script, which repeats the names of the lines, remarks, its name."""
    for parent in list(svg.iter()):
        for child in list(parent):
            # The tag of a comment is no text.
            if child.tag == "script" or not isinstance(child.tag, str) or (parent is svg and child.tag == "title"):
                parent.remove(child)
    return svg


def linear_axis(high: float) -> list[float]:
    """From zero to above `high` in four to ten equal steps of 1, 2 or 5 times a power of ten."""
    high = max(high, 1e-9)
    power = 10.0 ** math.floor(math.log10(high / 4))
    step = max(mark * power for mark in STEPS if mark * power <= high / 4)
    return [n * step for n in range(math.ceil(high / step) + 1)]


def _label(name: str) -> str:
    """The name as XML can hold it; of a long one both ends, because paths and columns differ at the right one."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    half = _LABEL_CHARACTERS // 2
    return text if len(text) <= _LABEL_CHARACTERS else f"{text[:half]}…{text[1 - half :]}"
