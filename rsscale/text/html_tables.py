"""HTML of tables, bars and lines, for values that a notebook shows.

Everything is escaped, and there is neither script nor style sheet. No colour of text or background
is set, so that a notebook's own are kept, dark or light.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_LINE = "1px solid rgba(128,128,128,.35)"
_TABLE = (
    "border-collapse:collapse;margin:.3em 0 .7em;font-variant-numeric:tabular-nums;"
    "color:inherit;background:transparent"
)
_BAR_WIDTH = "14em"
DONE, FAILED = "#2b83ba", "#d7301f"


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than its text.

    Attributes
    ----------
    text : str
    color : str
        ``"#rrggbb"``: a square of it stands before the text.
    shade : float
        From 0 to 1: how strongly the cell is filled.
    is_bold : bool
    """

    text: str
    color: str = ""
    shade: float = 0.0
    is_bold: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar in a cell.

    Attributes
    ----------
    done, failed : float
        Shares, from 0 to 1.
    """

    done: float
    failed: float = 0.0


AnyCell = str | Cell | Bar


def block(*parts: str) -> str:
    """Parts one below another."""
    return f'<div style="line-height:1.4">{"".join(parts)}</div>'


def heading(text: str, beside: str = "") -> str:
    """A line in bold, and in plain letters what stands beside it."""
    rest = f" <span>{escape(beside)}</span>" if beside else ""
    return f'<div style="margin:.3em 0"><b>{escape(text)}</b>{rest}</div>'


def small_lines(texts: Iterable[str]) -> str:
    """Lines of text, in smaller letters; empty ones are left out."""
    shown = "<br>".join(escape(text) for text in texts if text)
    return f'<div style="font-size:90%;margin:.3em 0">{shown}</div>' if shown else ""


def preformatted(texts: Iterable[str]) -> str:
    """Lines of text whose columns stand below one another by blanks."""
    return (
        '<pre style="line-height:1.3;color:inherit;background:transparent;margin:.3em 0">'
        f"{escape(chr(10).join(texts))}</pre>"
    )


def table(rows: Iterable[Sequence[AnyCell]], head: Sequence[str] = (), align: str = "") -> str:
    """A table.

    Parameters
    ----------
    rows : iterable of sequences of str, Cell or Bar
    head : sequence of str
        Names of the columns; none when empty.
    align : str
        A letter a column, ``l`` or ``r``; the last holds for those that follow. When empty the
        first column stands to the left, and the others to the right.
    """
    sides = align or "lr"

    def row(cells: Sequence[AnyCell], tag: str) -> str:
        made = (
            _cell(cell, tag, sides[min(number, len(sides) - 1)])
            for number, cell in enumerate(cells)
        )
        return f'<tr style="background:transparent">{"".join(made)}</tr>'

    top = f"<thead>{row(head, 'th')}</thead>" if head else ""
    body = "".join(row(cells, "td") for cells in rows)
    return f'<table style="{_TABLE}">{top}<tbody>{body}</tbody></table>'


def pairs(rows: Iterable[tuple[str, AnyCell]]) -> str:
    """A table of names and what they are."""
    return table(((Cell(name, is_bold=True), text) for name, text in rows), align="ll")


def progress_bar(bar: Bar) -> str:
    """A bar by itself."""
    parts = "".join(
        f'<span style="float:left;height:100%;width:{100 * min(max(share, 0), 1):.1f}%;'
        f'background:{color}"></span>'
        for share, color in ((bar.done, DONE), (bar.failed, FAILED))
        if share > 0
    )
    return (
        f'<span style="display:inline-block;vertical-align:middle;width:{_BAR_WIDTH};height:.7em;'
        f'background:rgba(128,128,128,.3)">{parts}</span>'
    )


def _cell(cell: AnyCell, tag: str, side: str) -> str:
    style = f"text-align:{'left' if side == 'l' else 'right'};padding:.15em .7em;border:0"
    style += f";border-bottom:{_LINE};vertical-align:top"
    if isinstance(cell, Bar):
        return f'<{tag} style="{style};white-space:nowrap">{progress_bar(cell)}</{tag}>'
    cell = Cell(cell) if isinstance(cell, str) else cell
    if cell.shade > 0:
        style += f";background:rgba(43,131,186,{min(cell.shade, 1) * 0.6:.2f})"
    if cell.is_bold:
        style += ";font-weight:bold"
    return f'<{tag} style="{style}">{_square(cell.color)}{escape(cell.text)}</{tag}>'


def _square(color: str) -> str:
    if not color:
        return ""
    return (
        '<span style="display:inline-block;width:.8em;height:.8em;margin-right:.5em;'
        f'border:{_LINE};background:{escape(color)}"></span>'
    )
