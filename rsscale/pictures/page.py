"""Draw a page in pixels: boxes and images to the pixel, text by matplotlib.

Maps are pasted rather than plotted, so that a pixel of a map is a whole number of pixels of
the picture and no class colour is mixed with its neighbour's. pyplot is not used.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from rsscale.errors import missing_extra
from rsscale.pictures.fonts import drawable, without_remarks

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

_DPI = 144
_PAPER = "#ffffff"


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


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Width of a line of text, pixels, at a font size in pixels."""
    from matplotlib.backends.backend_agg import RendererAgg

    renderer: Any = RendererAgg(8, 8, _DPI)  # type: ignore[no-untyped-call]
    text, families = drawable(text)
    font = _font(size, bold, families)
    with without_remarks():
        width, _, _ = renderer.get_text_width_height_descent(text, font, ismath=False)
    return int(np.ceil(width))


class Page:
    """A white page; positions count from the upper left corner, in pixels.

    Parameters
    ----------
    width, height : int
        Pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        # A hundredth more, so that rounding never loses the last pixel.
        size = ((width + 0.01) / _DPI, (height + 0.01) / _DPI)
        self._figure = Figure(figsize=size, dpi=_DPI, facecolor=_PAPER)
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._images: list[tuple[int, int, npt.NDArray[np.uint8]]] = []

    def text(
        self,
        x: int,
        y: int,
        text: str,
        *,
        size: int,
        color: str,
        bold: bool = False,
        align: Literal["left", "right"] = "left",
    ) -> None:
        """Write a line with its baseline at ``y``; ``size`` is the font size in pixels."""
        from matplotlib.transforms import IdentityTransform

        text, families = drawable(text)
        self._figure.text(
            x,
            self.height - y,
            text,
            transform=IdentityTransform(),
            fontproperties=_font(size, bold, families),
            color=color,
            ha=align,
            va="baseline",
            parse_math=False,  # a class may be called "a$b"
        )

    def box(self, x: int, y: int, width: int, height: int, color: str) -> None:
        """Fill a rectangle."""
        self.image(x, y, np.broadcast_to(_rgb(color), (height, width, 3)))

    def image(self, x: int, y: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Paste an RGB image ``(rows, cols, 3)``."""
        self._images.append((x, y, pixels))

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The page as ``(height, width, 3)``; images lie over text, later ones over earlier."""
        with without_remarks():
            self._canvas.draw()
        page = np.array(self._canvas.buffer_rgba())[..., :3]
        for x, y, image in self._images:
            page[y : y + image.shape[0], x : x + image.shape[1]] = image
        return page

    def save(self, path: Path) -> None:
        """Write a PNG."""
        from matplotlib.image import imsave

        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the version of matplotlib in it, the same picture is the same bytes.
        nameless: Any = {"Software": None}
        imsave(path, self.pixels(), format="png", dpi=_DPI, metadata=nameless)


def paint(
    values: npt.NDArray[np.uint8], colors: dict[int, str], other: str, shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Class values as an RGB image of another shape, by the nearest pixel.

    Parameters
    ----------
    values : uint8 array (rows, cols)
    colors : dict
        ``"#rrggbb"`` of each value.
    other : str
        Colour of values without one.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    uint8 array (height, width, 3)
    """
    table = np.broadcast_to(_rgb(other), (256, 3)).copy()
    for value, color in colors.items():
        table[value] = _rgb(color)
    rows, cols = (
        np.arange(wide) * have // wide for wide, have in zip(shape, values.shape, strict=True)
    )
    painted: npt.NDArray[np.uint8] = table[values[np.ix_(rows, cols)]]
    return painted


def _rgb(color: str) -> npt.NDArray[np.uint8]:
    return np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)], np.uint8)


@lru_cache
def _font(size: int, bold: bool, families: tuple[str, ...]) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(
        family=list(families), size=size * 72 / _DPI, weight="bold" if bold else "normal"
    )
