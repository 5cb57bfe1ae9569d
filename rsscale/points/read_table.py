"""Read series in long form: a row for each sample and date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from rsscale.errors import RecipeError, nearest
from rsscale.geo.sample_groups import GroupShapes, unit_of
from rsscale.points.series_table import SeriesInput, SeriesTable, day_of_year, group_codes

_WHOLE_YEAR = ("year",)


def read_series_table(
    table: pd.DataFrame | str | Path,
    *,
    bands: Sequence[str] | Mapping[str, Sequence[str]],
    label: str | None = None,
    values: Sequence[str] = (),
    sample: str = "sample_id",
    date: str | None = "date",
    samples: pd.DataFrame | str | Path | None = None,
    group: str | None = None,
    blocks: float | None = None,
    coordinates: tuple[str, str] = ("x", "y"),
    nodata: float | None = None,
    scale: float | Mapping[str, float] = 1.0,
    times: Sequence[str] = (),
    crs: str | None = None,
) -> SeriesTable:
    """Read series at points in long form, to train a model with :func:`rsscale.train_table`.

    Parameters
    ----------
    table : DataFrame or path
        A row for each sample and date; a path is of Parquet.
    bands : sequence of str, or mapping of input name to such
        Columns of the bands. A mapping makes several inputs, such as sensors, of which each has
        its observations where all its own bands have a value.
    label : str
        Column of the class.
    values : sequence of str
        Columns of the values, for regression, instead of ``label``.
    sample : str
        Column that says which rows are one sample.
    date : str, optional
        Column of the date; None where each sample is one row.
    samples : DataFrame or path, optional
        A row for each sample, with its id, for ``label``, ``values``, ``group`` and coordinates.
    group : str, optional
        Column of what must not be parted between training and test, such as a field.
    blocks : float, optional
        Width of square blocks that are the groups, in the units of the coordinates.
    coordinates : (str, str)
        Columns of x and y; of a ``geometry`` column of points where these are not there.
    nodata : float, optional
        What stands for no value, besides NaN.
    scale : float, or mapping of band to float
        Values are multiplied by it, to be in the units of the imagery that is mapped.
    times : sequence of str
        Names of time windows, where rows are composites: each sample has one row for each.
    crs : str, optional
        Of the coordinates, for the map of the split; a GeoParquet file or a GeoDataFrame says its
        own.

    Returns
    -------
    SeriesTable

    Raises
    ------
    RecipeError
        When a column is missing, a sample has several labels, or lacks a time window.
    """
    if (label is None) == (not values):
        raise RecipeError("say either label, the column of the class, or values, for regression")
    frame, about = _frame(table, sample), _frame(samples, sample)
    names = {"series": bands} if not isinstance(bands, Mapping) else bands
    needed = [b for some in names.values() for b in some] + ([date] if date else [])
    _check_columns(frame, [sample, *needed])
    frame = frame.sort_values([sample, date] if date else [sample], kind="stable")
    code, ids = pd.factorize(frame[sample])
    place = frame.groupby(code).cumcount().to_numpy()
    _check_times(code, ids, times, date)
    rows = _Rows(sample, frame, about, code, ids)
    targets = _by_sample(rows, [label] if label else list(values))
    where = _positions(coordinates, rows, needed=blocks is not None)
    groups, notes = group_codes(_groups(group, blocks, where, rows), len(ids))
    shape = (len(ids), int(place.max()) + 1 if len(place) else 0)
    days = np.zeros(shape, np.float32)
    days[code, place] = _days(frame[date], date) if date else 183.0
    inputs = []
    for name, some in names.items():
        array = np.full((*shape, len(some)), np.nan, np.float32)
        array[code, place] = _numbers(frame, some, nodata, scale)
        named = tuple(times) or (() if date else _WHOLE_YEAR)
        inputs.append(SeriesInput(name, tuple(some), array, days, named))
    sample_targets = targets[label].to_numpy() if label else targets.to_numpy(np.float64)
    crs = str(crs) if crs is not None else _crs_of(about, frame)
    places = _places(
        _kind(group, blocks, crs), where, groups, sample_targets, crs=crs, blocks=blocks
    )
    return SeriesTable(tuple(inputs), sample_targets, groups, tuple(values), notes, places).seen


def _frame(table: pd.DataFrame | str | Path | None, sample: str) -> Any:
    """A table as a frame, with its geometries where it has some."""
    if table is None:
        return None
    if isinstance(table, pd.DataFrame):
        frame = table
    else:
        try:
            frame = _read_parquet(table)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:200]
            raise RecipeError(f"{table} can't be read as a Parquet table: {reason}") from None
    _check_columns(frame, [sample])
    return frame


def _read_parquet(path: str | Path) -> pd.DataFrame:
    """A table; with its geometries and their CRS where it is GeoParquet."""
    import geopandas as gpd

    if b"geo" in (pq.read_schema(path).metadata or {}):
        located: pd.DataFrame = gpd.read_parquet(path)
        return located
    return pd.read_parquet(path)


def _check_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    columns = [str(name) for name in frame.columns]
    for name in names:
        if name not in columns:
            raise RecipeError(
                f"the table has no column {name!r}; it has {columns}{nearest(name, columns)}"
            )


def _check_times(
    code: npt.NDArray[Any],
    ids: Any,
    times: Sequence[str],
    date: str | None,
) -> None:
    """Refuse samples that don't have one row for each time window, or one row without dates."""
    expected = len(times) if times else (1 if date is None else 0)
    rows = np.bincount(code, minlength=len(ids))
    if not expected or (rows == expected).all():
        return
    wrong = int(np.flatnonzero(rows != expected)[0])
    wanted = f"the {expected} time windows {list(times)} need one each" if times else (
        "without a date each sample is one row"
    )  # fmt: skip
    raise RecipeError(
        f"sample {ids[wrong]!r} has {rows[wrong]} rows; {wanted}: a missing composite is a row of "
        "nodata"
    )


@dataclass(frozen=True)
class _Rows:
    """Rows in long form, and a table of samples beside them if there is one."""

    sample: str
    frame: pd.DataFrame
    about: pd.DataFrame | None
    code: npt.NDArray[Any]  # of each row, the number of its sample in ids
    ids: Any


def _by_sample(rows: _Rows, names: Sequence[str]) -> pd.DataFrame:
    """Columns that say something of a sample, a row for each in the order of ``ids``."""
    sample, frame, about, code, ids = rows.sample, rows.frame, rows.about, rows.code, rows.ids
    if about is not None and set(names) <= set(about.columns):
        if about[sample].duplicated().any():
            twice = about[sample][about[sample].duplicated()].iloc[0]
            raise RecipeError(f"sample {twice!r} has several rows in the table of samples")
        unknown = np.flatnonzero(~np.isin(np.asarray(ids), about[sample].to_numpy()))
        if len(unknown):
            raise RecipeError(
                f"sample {ids[unknown[0]]!r} ({len(unknown)} in all) is not in the table of samples"
            )
        return about.set_index(sample)[list(names)].reindex(ids)
    _check_columns(frame, names)
    groups = frame[list(names)].groupby(code)
    several = (groups.nunique(dropna=False).to_numpy() > 1).any(axis=1)
    if several.any():
        first = int(np.flatnonzero(several)[0])
        raise RecipeError(
            f"sample {ids[first]!r} has several values of {' or '.join(names)}; each has one, "
            "as it is one place and season"
        )
    return groups.first()


def _groups(
    group: str | None, blocks: float | None, where: npt.NDArray[np.float64] | None, rows: _Rows
) -> npt.NDArray[Any] | None:
    """What a sample lies together with: its column, or its block of land."""
    if group is not None and blocks is not None:
        raise RecipeError("say either group, a column, or blocks, by coordinates")
    if group is not None:
        return _by_sample(rows, [group])[group].to_numpy()
    if blocks is None:
        return None
    if not 0 < blocks < np.inf:
        raise RecipeError(f"blocks are {blocks} wide; expected a positive number")
    if where is None or not np.isfinite(where).all():
        raise RecipeError("a sample has no coordinates, so that it lies in no block")
    cells = np.floor(where / blocks).astype(np.int64)
    groups: npt.NDArray[Any] = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    return groups


def _positions(
    coordinates: tuple[str, str], rows: _Rows, *, needed: bool
) -> npt.NDArray[np.float64] | None:
    """Coordinates ``(N, 2)`` of the samples; None where they have none and need none."""
    frames = [f for f in (rows.about, rows.frame) if f is not None]
    if not needed and not any({"geometry"} <= {*f} or {*coordinates} <= {*f} for f in frames):
        return None
    with_points = next((f for f in frames if "geometry" in f.columns), None)
    if with_points is not None and not set(coordinates) <= set(with_points.columns):
        import shapely

        shapes = with_points["geometry"].to_numpy()
        if isinstance(shapes[0], bytes):
            shapes = shapely.from_wkb(shapes)  # of a GeoParquet file that pandas read
        centers = shapely.centroid(shapes)
        located = with_points[[rows.sample]].assign(
            **dict(zip(coordinates, (shapely.get_x(centers), shapely.get_y(centers)), strict=True))
        )
        if with_points is rows.frame:
            located = located.drop_duplicates(rows.sample)
        rows = replace(rows, about=located)
    try:
        return _by_sample(rows, list(coordinates)).to_numpy(np.float64)
    except (RecipeError, ValueError):
        if needed:
            raise
        return None  # columns of these names that are no coordinates


def _places(
    kind: str,
    where: npt.NDArray[np.float64] | None,
    groups: npt.NDArray[np.int64],
    labels: npt.NDArray[Any],
    *,
    crs: str,
    blocks: float | None,
) -> GroupShapes | None:
    """Where the groups lie, where samples have coordinates."""
    if where is None or not np.isfinite(where).all():
        return None
    return GroupShapes.around_points(kind, where, groups, labels, crs=crs, blocks=blocks)


def _kind(group: str | None, blocks: float | None, crs: str) -> str:
    if group is not None:
        return f"column {group!r}"
    return f"blocks of {blocks:g} {unit_of(crs)}".rstrip() if blocks else "single samples"


def _crs_of(*frames: Any) -> str:
    """The CRS that tables with geometries say."""
    known = next((f.crs for f in frames if getattr(f, "crs", None) is not None), None)
    if known is None:
        return ""
    authority = known.to_authority()
    return ":".join(authority) if authority else str(known.to_wkt())


def _days(column: Any, name: str | None) -> npt.NDArray[np.float32]:
    try:
        is_text = column.dtype.kind not in "mM"
        dates = pd.to_datetime(column, format="ISO8601" if is_text else None)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        raise RecipeError(f"column {name!r} has no dates: {reason}") from None
    if dates.isna().any():
        raise RecipeError(f"column {name!r} has {int(dates.isna().sum())} rows without a date")
    if dates.dt.tz is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return day_of_year(dates.to_numpy("datetime64[ns]"))


def _numbers(
    frame: pd.DataFrame,
    bands: Sequence[str],
    nodata: float | None,
    scale: float | Mapping[str, float],
) -> npt.NDArray[np.float32]:
    """Values ``(rows, B)`` in physical units, NaN where there is none."""
    try:
        raw = frame[list(bands)].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the bands {list(bands)} hold something else than numbers: {error}") \
            from None  # fmt: skip
    if nodata is not None:
        raw = np.where(raw == nodata, np.nan, raw)
    factors = [scale.get(b, 1.0) if isinstance(scale, Mapping) else scale for b in bands]
    physical: npt.NDArray[np.float32] = (raw * np.array(factors)).astype(np.float32)
    return physical
