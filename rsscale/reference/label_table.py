"""Read tables of points: CSV or Parquet with a row for each place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

_TEXT = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_DEGREES = (("lon", "lat"), ("longitude", "latitude"), ("long", "lat"), ("lng", "lat"))
_NAMES = (*_DEGREES, ("x", "y"))
_WGS84 = "EPSG:4326"


def is_table(path: Path) -> bool:
    """Whether a file is a table without geometries: text, or Parquet that is no GeoParquet."""
    suffix = path.suffix.lower()
    if suffix not in _PARQUET:
        return suffix in _TEXT
    import pyarrow.parquet

    try:
        return b"geo" not in (pyarrow.parquet.read_schema(path).metadata or {})
    except (OSError, ValueError):  # what is wrong with it is said where it is read
        return False


def read_points(
    path: Path, coordinates: Sequence[str] | None = None, crs: str | None = None
) -> gpd.GeoDataFrame:
    """Read a table with coordinates as points.

    Parameters
    ----------
    path : Path
        CSV, with commas, semicolons or tabs, or Parquet.
    coordinates : (str, str), optional
        Columns of x and y, or of longitude and latitude; when omitted ``lon`` and ``lat``,
        ``longitude`` and ``latitude``, or ``x`` and ``y``, in upper or lower case.
    crs : str, optional
        Of the coordinates; EPSG:4326 when omitted and the columns are named as degrees.

    Returns
    -------
    GeoDataFrame
        All columns, and ``geometry``.

    Raises
    ------
    RecipeError
        When it can't be read, or coordinates or their CRS are missing or no numbers.
    """
    import geopandas as gpd

    table = read_table(path)
    if table.empty:
        raise RecipeError(f"labels {path} hold no row")
    names = _coordinate_columns(table, coordinates, path)
    crs = crs or _crs_by_name(names, path)
    x, y = (table_numbers(table, name, path) for name in names)
    try:
        points = gpd.points_from_xy(x, y, crs=crs)
    except Exception as error:  # pyproj raises several types
        raise RecipeError(
            f"labels {path}: the CRS {crs!r} is not known to pyproj; use a code like 'EPSG:32631'"
        ) from error
    others = [name for name in table.columns if name != "geometry"]
    return gpd.GeoDataFrame(table[others], geometry=points)


def read_table(path: Path) -> pd.DataFrame:
    """Read CSV, with commas, semicolons or tabs, as text, or Parquet with its types.

    Raises
    ------
    RecipeError
        When it can't be read.
    """
    import pandas as pd

    try:
        if path.suffix.lower() in _PARQUET:
            table = pd.read_parquet(path)
        else:
            # As text: a code 03 stays what it is, and a class "NA" is no missing value.
            table = pd.read_csv(
                path,
                sep=_separator(path),
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
                skipinitialspace=True,
            )
    except Exception as error:  # noqa: BLE001 -- pandas, pyarrow and codecs each raise their own
        first = " ".join(str(error).strip().partition("\n")[0].split())[:200]
        raise RecipeError(
            f"labels {path} can't be read as a table: {first}; expected CSV in UTF-8, or Parquet"
        ) from None
    # A Parquet table may say its rows' names, which need not differ; rows are counted here.
    return table.reset_index(drop=True).rename(columns=lambda name: str(name).strip())


def _separator(path: Path) -> str:
    """What parts the columns: the most frequent of comma, semicolon and tab in the first line."""
    with path.open(encoding="utf-8-sig") as file:
        head = file.readline()
    return max(",;\t", key=head.count)


def _coordinate_columns(
    table: pd.DataFrame, coordinates: Sequence[str] | None, path: Path
) -> tuple[str, str]:
    columns = [str(name) for name in table.columns]
    if coordinates is not None:
        for name in coordinates:
            if name not in columns:
                raise RecipeError(
                    f"labels {path} have no column {name!r} of coordinates; there are "
                    f"{columns}{nearest(name, columns)}"
                )
        return coordinates[0], coordinates[1]
    by_name = {name.lower(): name for name in columns}
    for x, y in _NAMES:
        if x in by_name and y in by_name:
            return by_name[x], by_name[y]
    raise RecipeError(
        f"labels {path} are a table without coordinates that are known, with the columns "
        f"{columns}; expected lon and lat, or x and y: name the columns with train.coordinates"
    )


def _crs_by_name(names: tuple[str, str], path: Path) -> str:
    if (names[0].lower(), names[1].lower()) in _DEGREES:
        return _WGS84
    raise RecipeError(
        f"labels {path} have coordinates in {list(names)} and no CRS; say it with "
        "train.labels_crs, such as EPSG:32631"
    )


def table_numbers(table: pd.DataFrame, name: str, path: Path) -> npt.NDArray[np.float64]:
    """A column of coordinates as numbers.

    Raises
    ------
    RecipeError
        Which names the row that holds none.
    """
    import pandas as pd

    column: Any = pd.to_numeric(table[name], errors="coerce")
    numbers: npt.NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        more = f" ({len(wrong)} rows in all)" if len(wrong) > 1 else ""
        value = table[name].iloc[int(wrong[0])]
        content = "no value" if pd.isna(value) else repr(str(value))
        raise RecipeError(
            f"labels {path}: row {wrong[0]} has {content} in the column of coordinates {name!r}"
            f"{more}; expected a number, with a point before its decimals"
        )
    return numbers
