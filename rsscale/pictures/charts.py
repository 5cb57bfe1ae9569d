"""What all pictures share: matplotlib, fonts and colours, and how charts become files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsscale.errors import missing_extra
from rsscale.pictures.fonts import FONT, drawable, without_remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, LINE, PALE = "#262626", "#6f6f6b", "#c4c4c0", "#f1f1ee"
# Okabe & Ito 2008, told apart with any colour vision: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
_DPI = 100
_COLORS, _UNSEEN = 256, 10  # of a file, a third as large as with all; difference of a colour
_SIZES = {"font.size": 11.0, "axes.titlesize": 13.0, "axes.labelsize": 11.0}
_STYLE: dict[str, Any] = {
    **_SIZES,
    "font.family": FONT,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "a$b"
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "hatch.linewidth": 0.6,
}


def require_matplotlib(use: str = "a picture", extra: str = "pictures") -> None:
    """Raise MissingExtraError where matplotlib is not installed; called before any work is done.

    Parameters
    ----------
    use : str
        What needs it, as the message says.
    extra : str
        The extra that the message names.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise missing_extra(use, extra) from None


@contextmanager
def style() -> Iterator[None]:
    """Make and draw charts alike, whatever the user's matplotlib is told."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        parameters: Any = mpl.rcParams  # whose keys are typed one by one
        parameters.update(_STYLE)
        yield


def new_figure(width: int, height: int) -> Figure:
    """A white figure of so many pixels, in which nothing overlaps; pyplot is not used."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    # A notebook knows figures only once pyplot is there; by this method it knows these.
    figure._repr_png_ = lambda: figure_png(figure)  # type: ignore[attr-defined]
    return figure


def figure_png(figure: Figure) -> bytes:
    """A figure as the content of a PNG."""
    content = io.BytesIO()
    with style(), without_remarks():
        figure.savefig(content, format="png")
    return content.getvalue()


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a PNG, of few colours where these are enough; the same figure is the same bytes."""
    from PIL import Image

    with style(), without_remarks():
        canvas: Any = figure.canvas
        canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]
    picture = Image.fromarray(pixels)
    few = picture.quantize(_COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    away = np.abs(np.asarray(few.convert("RGB"), np.int16) - pixels).max()
    (few if away <= _UNSEEN else picture).save(path, format="png")
    return path


def written(text: str, width: int = 0) -> dict[str, Any]:
    """A text for matplotlib, wrapped to so many letters, with fonts that have all its letters."""
    text, families = drawable(text)
    lines = textwrap.wrap(text, width) if width else [text]
    return {"s": "\n".join(lines) or text, "fontfamily": list(families)}


def name_ticks(axis: Any, names: Iterable[str], width: int = 0, **options: Any) -> None:
    """Write names at the ticks 0, 1, 2, … of an axis."""
    parts = [written(name, width) for name in names]
    axis.set_ticks(range(len(parts)), [part["s"] for part in parts], **options)
    for label, part in zip(axis.get_ticklabels(), parts, strict=True):
        label.set_fontfamily(part["fontfamily"])
        label.set_color(INK)


def shortened(name: str, length: int = 24) -> str:
    """A name of so many letters at most."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def plain_axes(axes: Axes, *, grid: str = "y") -> None:
    """Few pale lines, behind what is drawn."""
    axes.grid(axis=grid, color=PALE, linewidth=1.0)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
