"""Bar charts as SVG, for a page that is light or dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 720
_MARGIN, _RIGHT, _ROW, _GAP, _FOOT = 12, 70, 18, 14, 30
_LEGEND, _LEGEND_ROW = 46, 18
# Of the fonts below, about.
_LETTER, _SMALL_LETTER = 7.6, 6.4
# The ground is left to the page. Both sets of colours stand out from white and from GitHub's dark.
_STYLE = """\
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:15px}.small{font-size:11px;fill:#59636e}
.axis{stroke:#d1d9e0}.c0{fill:#0969da}.c1{fill:#bf8700}.c2{fill:#8250df}.c3{fill:#59636e}
.c4{fill:#1a7f37}.c5{fill:#cf222e}.c6{fill:#54aeff}.c7{fill:#bc4c00}
.c8{fill:#bf3989}.c9{fill:#4ac26b}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.axis{stroke:#3d444d}
.c0{fill:#4493f8}.c1{fill:#d29922}.c2{fill:#ab7df8}.c3{fill:#9198a1}
.c4{fill:#3fb950}.c5{fill:#f85149}.c6{fill:#79c0ff}.c7{fill:#db6d28}
.c8{fill:#f778ba}.c9{fill:#7ee787}}
"""
COLOURS = 10


@dataclass(frozen=True, slots=True)
class Bars:
    """Groups of horizontal bars, or with `is_stacked` one bar a group, of parts that add up.

    `values` has a row for each group and in it a number for each series; None: not measured.
    `mark` is a line across, such as a target.
    """

    title: str
    unit: str
    groups: Sequence[str]
    series: Sequence[str]
    values: Sequence[Sequence[float | None]]
    is_stacked: bool = False
    mark: tuple[str, float] | None = None


def draw(bars: Bars, footer: str = "") -> str:
    """Return a whole SVG document."""
    top = _top(bars)
    height = top + sum(_height_of(bars, group) for group in range(len(bars.groups))) + _FOOT
    body = "\n".join([*_head(bars), *_groups(bars), *_mark(bars, height), *_foot(footer, height)])
    label = escape(bars.title, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{label}">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def _head(bars: Bars) -> Iterator[str]:
    yield _text(_MARGIN, 22, f"{bars.title} ({bars.unit})", "title")
    for place, (x, row, name) in enumerate(_legend(bars)):
        y = _LEGEND + row * _LEGEND_ROW
        yield (
            f'<rect x="{x:.0f}" y="{y - 10}" width="11" height="11" rx="2" '
            f'class="{_colour(place)}"/>'
        )
        yield _text(x + 16, y, name, "small")


def _legend(bars: Bars) -> Iterator[tuple[float, int, str]]:
    """Return where each series is named: x, row, name."""
    x, row = float(_MARGIN), 0
    for name in bars.series:
        width = 16 + _SMALL_LETTER * len(name) + 18
        if x + width > WIDTH and x > _MARGIN:
            x, row = float(_MARGIN), row + 1
        yield x, row, name
        x += width


def _top(bars: Bars) -> int:
    return (
        _LEGEND + _LEGEND_ROW + _LEGEND_ROW * max((row for _, row, _ in _legend(bars)), default=0)
    )


def _left(bars: Bars) -> float:
    return _MARGIN + 10 + _LETTER * max(map(len, bars.groups), default=0)


def _groups(bars: Bars) -> Iterator[str]:
    left, y = _left(bars), float(_top(bars))
    for group, name in enumerate(bars.groups):
        height = _height_of(bars, group)
        middle = y + (height - _GAP) / 2 + 4
        yield f'<text x="{left - 10:.0f}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>'
        yield from _stack(bars, group, y) if bars.is_stacked else _side_by_side(bars, group, y)
        y += height
    yield (
        f'<line x1="{left:.0f}" x2="{left:.0f}" y1="{_top(bars) - 6}" y2="{y - _GAP + 6:.0f}" '
        'class="axis"/>'
    )


def _side_by_side(bars: Bars, group: int, y: float) -> Iterator[str]:
    for place, value in enumerate(bars.values[group]):
        if value is not None:
            yield _bar(_left(bars), y, value * _scale(bars), place)
            yield _text(_left(bars) + value * _scale(bars) + 6, y + 12, _short(value), "small")
            y += _ROW


def _stack(bars: Bars, group: int, y: float) -> Iterator[str]:
    x, whole = _left(bars), 0.0
    for place, value in enumerate(bars.values[group]):
        if value:
            yield _bar(x, y, value * _scale(bars), place)
            x += value * _scale(bars)
            whole += value
    yield _text(x + 6, y + 12, _short(whole), "small")


def _mark(bars: Bars, height: int) -> Iterator[str]:
    if bars.mark:
        name, value = bars.mark
        x, end = _left(bars) + value * _scale(bars), height - _FOOT - _GAP + 6
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_top(bars) - 6}" y2="{end}" class="axis" '
            'stroke-width="2" stroke-dasharray="4 3"/>'
        )
        yield _text(x + 4, end + 4, name, "small")


def _foot(footer: str, height: int) -> Iterator[str]:
    if footer:
        yield _text(12, height - 8, footer, "small")


def _bar(x: float, y: float, width: float, place: int) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.0f}" width="{max(width, 1):.1f}" height="{_ROW - 4}" '
        f'class="{_colour(place)}"/>'
    )


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{style}">{escape(text)}</text>'


def _height_of(bars: Bars, group: int) -> int:
    shown = 1 if bars.is_stacked else sum(it is not None for it in bars.values[group])
    return max(shown, 1) * _ROW + _GAP


def _scale(bars: Bars) -> float:
    """Return pixels a unit."""
    known = [[value for value in row if value is not None] for row in bars.values]
    longest = max((sum(row) if bars.is_stacked else max(row) for row in known if row), default=0)
    longest = max(longest, bars.mark[1] if bars.mark else 0)
    return (WIDTH - _left(bars) - _RIGHT) / longest if longest else 0.0


def _colour(place: int) -> str:
    return f"c{place % COLOURS}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
