"""Draw maps as a PNG with a legend, and imagery in true colour."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr

from rsscale.decorators.first_argument import COMPOSITE, MAP, first_is
from rsscale.errors import AreaError, BandError, nearest
from rsscale.legend.color_vision import alike
from rsscale.legend.palette import palette
from rsscale.legend.values import named_counts
from rsscale.pictures.charts import require_matplotlib, style
from rsscale.pictures.fonts import warn_of_missing, without_remarks
from rsscale.pictures.panels import ground_of, layers_of, read_panels
from rsscale.pictures.sheet import UNNAMED, Panel, draw, save_options

_log = logging.getLogger(__name__)

_MOST_NAMED = 3


@first_is(xr.Dataset, expected=MAP)
def quicklook(
    ds: xr.Dataset,
    path: str | Path,
    *,
    title: str | None = None,
    change: xr.Dataset | None = None,
    observed: xr.Dataset | None = None,
    credit: str | None = None,
    max_px: int = 1600,
    by_area: bool = True,
) -> Path:
    """Draw the maps of a product with a legend, a scale bar and a north arrow.

    Values that are no class are magenta, and a row of the legend. Colours that are hard to tell
    apart without full colour vision are kept as they are given, and logged.

    Letters that matplotlib's own font lacks are drawn by any font of the machine that has them;
    where none has, boxes are drawn, and a warning and the picture say which font to install.

    Parameters
    ----------
    ds : Dataset
        A product: ``classification (time, y, x)`` or ``(y, x)`` with CF flag attributes, lazy or
        not. North is up in the picture whatever the order of the rows.
    path : path
        The PNG.
    title : str, optional
        Above the maps; the product's own title when omitted.
    change : Dataset, optional
        ``change`` layer of :func:`rsscale.detect_change`, drawn as a last panel.
    observed : Dataset, optional
        A product of the same pixels and times whose ``classification`` is nodata where nothing was
        observed, such as the map that a temporal model fills the holes of. What ``ds`` has there
        is drawn paler, with its share in the legend.
    credit : str, optional
        Whose data it is, in small type; the product's ``attribution`` when omitted.
    max_px : int
        All panels together are at most so many pixels wide and high, gaps not counted. Of a
        larger map the nearest pixels are drawn: class values are never averaged. The shares
        in the legend are of all pixels. Rows are read in strips, so that memory does not grow
        with their number.
    by_area : bool
        Whether the classes stand by area in the legend, the largest first, or in their own order.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    ModelError
        When the layer has no flag attributes, so that its classes are not known.
    AreaError
        When the change, or what was observed, does not lie on the map's pixels.
    MissingExtraError
        When matplotlib is not installed: the extra ``rsscale[pictures]``.
    """
    require_matplotlib()
    layers = layers_of(ds, change, observed)
    ground = ground_of(layers[0].layer, credit or str(ds.attrs.get("attribution", "")))
    panels, columns, factor = read_panels(layers, ground, max_px)
    heading = title if title is not None else str(ds.attrs.get("title", ""))
    names = [land_class.name for panel in panels for land_class in panel.classes]
    lacking = warn_of_missing([heading, ground.note, *names])
    ground = replace(ground, note=" · ".join(part for part in (ground.note, lacking) if part))
    if by_area:
        _warn_of_classes(panels)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with style(), without_remarks():
        figure = draw(panels, columns, ground.thinned(factor), heading, max_px, by_area=by_area)
        # Without the version of matplotlib in it, the same picture is the same bytes.
        figure.savefig(path, format="png", metadata={"Software": None}, **save_options(figure))
    return Path(path)


def _warn_of_classes(panels: list[Panel]) -> None:
    """Log classes of one map that are hard to tell apart, and values that are no class."""
    for classes in dict.fromkeys(panel.classes for panel in panels):
        pairs = alike([land_class.color for land_class in classes])
        if pairs:
            named = ", ".join(
                f"{classes[pair.first].name!r} and {classes[pair.second].name!r} ({pair.vision})"
                for pair in pairs[:_MOST_NAMED]
            )
            _log.warning(
                "colours of %s are hard to tell apart, and are drawn as they are given; classes "
                "without a colour get one that is distinct with any colour vision, such as %s",
                named,
                " ".join(palette(len(classes))),
            )
    for panel in panels:
        if panel.unnamed:
            counts = {value: int(panel.counts[value]) for value in panel.unnamed}
            _log.warning(
                "%s holds %s, which is none of its classes, drawn in %s",
                panel.title or "the map", named_counts(counts), UNNAMED,
            )  # fmt: skip


@first_is(xr.DataArray, expected=COMPOSITE)
def rgb(
    composite: xr.DataArray,
    bands: tuple[str, str, str] = ("red", "green", "blue"),
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> npt.NDArray[np.uint8]:
    """Make an RGB picture of three bands, stretched between two percentiles of all of them.

    One stretch for all three keeps their balance: grey stays grey.

    Parameters
    ----------
    composite : DataArray
        ``(band, y, x)``, or with one ``time``; NaN, and the value of the attribute ``nodata``
        if there is one, are nodata.
    bands : (str, str, str)
        For red, green and blue; ``("nir", "red", "green")`` shows plants in red.
    percentiles : (float, float)
        What becomes black and white.

    Returns
    -------
    uint8 array (y, x, 3)
        Pixels with nodata in any of the bands are white.

    Raises
    ------
    BandError
        When a band is missing.
    AreaError
        When there are several times.
    """
    if composite.sizes.get("time", 1) != 1:
        raise AreaError(
            f"the composite has {composite.sizes['time']} times; choose one with .isel(time=...)"
        )
    known = [str(b) for b in composite["band"].values]
    missing = [b for b in bands if b not in known]
    if missing:
        raise BandError(
            f"a picture needs the bands {list(bands)}; found {known}{nearest(missing[0], known)}"
        )
    composite = composite.squeeze("time") if "time" in composite.dims else composite
    picked = composite.sel(band=list(bands)).transpose("y", "x", "band")
    values = picked.values.astype("float32")
    nodata = composite.attrs.get("nodata", math.nan)
    empty = (~np.isfinite(values) | (values == nodata)).any(axis=-1)
    picture = np.full(values.shape, 255, np.uint8)
    if not empty.all():
        low, high = np.percentile(values[~empty], percentiles)
        stretched = np.clip((values[~empty] - low) / max(high - low, 1e-9), 0, 1) * 255
        picture[~empty] = stretched.round()
    return picture
