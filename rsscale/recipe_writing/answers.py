"""What a person says of a new recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rsscale.errors import RecipeError, nearest

_YEARS = ("year", "period")  # names of columns that hold the year of a label


@dataclass(frozen=True)
class Answers:
    """What a recipe is made of; what is None or empty is found out, or left out.

    Attributes
    ----------
    catalog : str
        A STAC API, ``catalog.json`` or stac-geoparquet.
    area : str
        A vector file with polygons, or ``west,south,east,north`` in degrees.
    periods : tuple of int
        Years.
    collection : str, optional
        Needed where the catalogue has several.
    bands : tuple of str
        By the product when empty.
    labels : str, optional
        What to train on.
    class_ : str, optional
        The column of the class.
    name, crs : str, optional
        By the area when omitted.
    resolution : float, optional
        Metres; of the finest band when omitted.
    sign : str, optional
        As of :func:`rsscale.search`.
    cloud_cover : float
        Scenes with more per cent of clouds are left out.
    """

    catalog: str
    area: str
    periods: tuple[int, ...]
    collection: str | None = None
    bands: tuple[str, ...] = ()
    labels: str | None = None
    class_: str | None = None
    name: str | None = None
    crs: str | None = None
    resolution: float | None = None
    sign: str | None = None
    cloud_cover: float = 60.0

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The area as a box; None for a file."""
        parts = self.area.split(",")
        try:
            west, south, east, north = map(float, parts)
        except ValueError:
            return None
        return west, south, east, north

    @property
    def access(self) -> str | None:
        """How files are reached: as given; the Planetary Computer signs all of its own."""
        is_planetary = "planetarycomputer.microsoft.com" in self.catalog
        return self.sign or ("planetary-computer" if is_planetary else None)

    def title(self, collection: str) -> str:
        """A name for the run: as given, of the area's file, or of the imagery."""
        if self.name is not None:
            return self.name
        stem = collection if self.box is not None else Path(self.area).stem
        plain = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-") or "map"
        return plain if plain[0].isalpha() and len(plain) > 1 else f"map-{plain}"


@dataclass(frozen=True)
class LabelColumns:
    """What the columns of labels are.

    Attributes
    ----------
    class_ : str or None
        None for a raster, which needs none.
    year : str or None
        Of the year that a label is true for.
    """

    class_: str | None = None
    year: str | None = None


def label_columns(labels: str, given: str | None) -> LabelColumns:
    """Tell which columns of labels hold the class and the year.

    The class is in the column that is given, or in the only one of texts, or in the only one.

    Parameters
    ----------
    labels : str
    given : str, optional

    Raises
    ------
    RecipeError
        When there is no such column, or it can't be told which one is meant.
    """
    from rsscale.reference.label_raster import is_raster
    from rsscale.reference.labels import read_frame

    if is_raster(Path(labels)):
        return LabelColumns()
    frame = read_frame(labels)
    columns = [str(name) for name in frame.columns if name != "geometry"]
    if given is not None:
        if given not in columns:
            raise RecipeError(
                f"labels {labels} have no column {given!r}; there are {', '.join(columns)}"
                f"{nearest(given, columns)}"
            )
        return LabelColumns(given, _year_column(columns, given))
    texts = [name for name in columns if frame[name].dtype.kind in "OTU"]
    for fits in (texts, columns):
        if len(fits) == 1:
            return LabelColumns(fits[0], _year_column(columns, fits[0]))
    raise RecipeError(
        f"labels {labels} have the columns {', '.join(columns)}; say which one is the class with "
        "--class"
    )


def _year_column(columns: list[str], class_: str) -> str | None:
    return next((name for name in columns if name.lower() in _YEARS and name != class_), None)
