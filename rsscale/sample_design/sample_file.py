"""Files of a sample: points for interpreters as GeoPackage or GeoParquet, and the design beside.

The file has what an interpreter needs and an estimator reads, and no class of the map.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.documents import DocumentError, read_json
from rsscale.errors import RecipeError, StorageError
from rsscale.geo.grid import Grid
from rsscale.geo.vector_file import VectorFileError, read_vector
from rsscale.sample_passes.random_numbers import place_numbers
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.strata import Strata

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

FORMAT = 1
"""Of the design record."""
LAYER = "sample"
_ENDINGS = (".gpkg", ".parquet", ".geoparquet")
# Points of a file may have been moved by an editor that rounds; further off they are others.
_SAME_PLACE = 0.25


@dataclass(frozen=True)
class SampleFile:
    """A sample that was drawn before.

    Attributes
    ----------
    path : Path
    units : GeoDataFrame
    record : mapping
        The design.
    """

    path: Path
    units: gpd.GeoDataFrame
    record: Mapping[str, Any]


def record_path(path: str | Path) -> Path:
    """Where the design of a sample file lies: beside it."""
    return Path(f"{os.fspath(path)}.design.json")


def check_target(path: str | Path, before: str | Path | None = None) -> Path:
    """The file to write; refused where it is of another kind, or there already.

    Raises
    ------
    RecipeError
    """
    if "://" in os.fspath(path):
        raise RecipeError(f"{path} can't be written to; give a local file, and copy it")
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS:
        raise RecipeError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(_ENDINGS)}")
    if path.exists():
        hint = (
            "choose another file"
            if before is not None
            else (f"choose another file, or add to it: --add-to {path} --to NEW")
        )
        raise RecipeError(
            f"{path} is there already, and interpreters may have worked on it; {hint}"
        )
    return path


def read_sample(path: str | Path) -> SampleFile:
    """Read a sample and its design, to add to it.

    Raises
    ------
    RecipeError
        When the file or the record is not there, or not what was written.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"there is no sample at {path}")
    beside = record_path(path)
    try:
        record = read_json(beside.read_bytes())
    except FileNotFoundError:
        raise RecipeError(
            f"{path} has no design beside it: {beside.name} is not there; put it back, or draw a "
            "new sample"
        ) from None
    except (OSError, DocumentError) as error:
        raise RecipeError(f"{beside} can't be read: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RecipeError(f"{beside} is no design of format {FORMAT}; draw a new sample")
    try:
        is_package = path.suffix.lower() == ".gpkg"
        units = read_vector(path, LAYER if is_package else None)
    except VectorFileError as error:
        raise RecipeError(f"the sample {path} {error}") from None
    missing = {"id", "inclusion_probability"} - set(units.columns)
    if missing:
        raise RecipeError(f"the sample {path} has no column {missing.pop()!r}")
    return SampleFile(path, units, record)


def units_of(
    drawn: pd.DataFrame, strata: Strata, options: SampleOptions, grid: Grid, periods: Sequence[str]
) -> gpd.GeoDataFrame:
    """The sample as points at the centres of pixels, in an order that tells nothing.

    Parameters
    ----------
    drawn : DataFrame
        The rows of a step ``sample``.
    strata : Strata
    options : SampleOptions
    grid : Grid
    periods : sequence of str
        Two where the sample is of change: each has a column for the reference.

    Returns
    -------
    GeoDataFrame
        In the grid's CRS, with ``row`` and ``col`` beside the columns of the file; ids from 1.
    """
    import geopandas as gpd

    rows, cols = drawn["row"].to_numpy(), drawn["col"].to_numpy()
    order = np.argsort(place_numbers(options.seed, "order", rows, cols), kind="stable")
    drawn = drawn.iloc[order].reset_index(drop=True)
    columns: dict[str, Any] = {"id": np.arange(1, len(drawn) + 1, dtype=np.int64)}
    is_stratified = bool(options.stratified_by)
    stratum_of = {code: stratum for stratum in strata.all for code in stratum.codes}
    own = [stratum_of[code] for code in drawn["code"]]
    columns["stratum"] = np.array(
        [stratum.value if is_stratified else 0 for stratum in own], np.int32
    )
    columns["stratum_name"] = [stratum.name if is_stratified else "" for stratum in own]
    if options.design == "two-stage":
        columns["cluster"] = _clusters(drawn, options)
    elif options.design == "systematic" and options.starts > 1:
        columns["cluster"] = drawn["rank"].to_numpy() + 1  # the number of the random start
    columns["inclusion_probability"] = drawn["probability"].to_numpy()
    columns |= {name: [""] * len(drawn) for name in reference_columns(periods)}
    columns |= {"row": drawn["row"], "col": drawn["col"]}
    x = grid.origin[0] + (drawn["col"] + 0.5) * grid.resolution
    y = grid.origin[1] - (drawn["row"] + 0.5) * grid.resolution
    return gpd.GeoDataFrame(columns, geometry=gpd.points_from_xy(x, y), crs=grid.crs)


def reference_columns(periods: Sequence[str]) -> list[str]:
    """Columns that an interpreter fills."""
    if len(periods) < 2:
        return ["reference"]
    return [f"reference_{period}" for period in periods]


def added_to(before: SampleFile, units: gpd.GeoDataFrame, grid: Grid) -> gpd.GeoDataFrame:
    """A larger sample with the ids and references of the one that it holds; new units follow.

    Raises
    ------
    RecipeError
        When units of the file were not drawn by its design: it was changed.
    """
    import pandas as pd

    old = before.units
    places = _places(old.to_crs(grid.crs), grid, before.path)
    old = old.assign(row=places[0], col=places[1])
    twice = old.duplicated(["row", "col"]) | old.duplicated("id")
    key = pd.MultiIndex.from_frame(units[["row", "col"]])
    strange = ~pd.MultiIndex.from_frame(old[["row", "col"]]).isin(key) | twice.to_numpy()
    if strange.any():
        raise RecipeError(
            f"{int(strange.sum()):,} of the {len(old):,} points of {before.path} are there twice "
            f"or were not drawn by its design, such as id {old['id'][strange].iloc[0]}; use the "
            "file as it was drawn, with its references"
        )
    known = old.set_index(["row", "col"])
    is_old = key.isin(known.index)
    new = units[~is_old]
    first = int(old["id"].max()) + 1
    new = new.assign(id=np.arange(first, first + len(new), dtype=np.int64))
    # What decides weights is that of the union; what people wrote stays.
    fresh = units[is_old].set_index(["row", "col"])
    computed = [  # a sample of one random start has no column of starts
        name for name in _COMPUTED if name in fresh and (name in known or name == "cluster")
    ]
    known = known.assign(**{name: fresh[name].reindex(known.index) for name in computed})
    joined = pd.concat([known.to_crs(units.crs).reset_index(), new], ignore_index=True)
    return joined.sort_values("id", ignore_index=True)


_COMPUTED = ("stratum", "stratum_name", "cluster", "inclusion_probability")


def write_sample(
    path: Path, units: gpd.GeoDataFrame, record: Mapping[str, Any], *, degrees: bool
) -> None:
    """Write the points and their design; the design first, so that no file lacks one.

    Raises
    ------
    StorageError
    """
    table = units.drop(columns=["row", "col"])
    if degrees:
        places = table.geometry.to_crs("EPSG:4326")
        table = table.assign(longitude=places.x.round(7), latitude=places.y.round(7))
    table = table[[name for name in table.columns if name != "geometry"] + ["geometry"]]
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        record_path(path).write_text(text + "\n", "utf-8")
        partial = path.with_name(f".{path.name}.partial{path.suffix}")
        if path.suffix.lower() == ".gpkg":
            table.to_file(partial, layer=LAYER, driver="GPKG")
        else:
            table.to_parquet(partial)
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error


def _clusters(drawn: pd.DataFrame, options: SampleOptions) -> npt.NDArray[np.int64]:
    """The draw that each unit is of: where a primary unit was drawn twice, one or the other."""
    hits = [[int(hit) for hit in text.split()] for text in drawn["hits"]]
    of_hit = (drawn["rank"] // options.per_block).tolist()
    return np.array([of[k] for of, k in zip(hits, of_hit, strict=True)], np.int64)


def _places(
    points: gpd.GeoDataFrame, grid: Grid, path: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of the pixel at whose centre each point lies."""
    x = (points.geometry.x.to_numpy() - grid.origin[0]) / grid.resolution - 0.5
    y = (grid.origin[1] - points.geometry.y.to_numpy()) / grid.resolution - 0.5
    if (
        not np.isfinite([x, y]).all()
        or max(np.abs(x - np.rint(x)).max(initial=0), np.abs(y - np.rint(y)).max(initial=0))
        > _SAME_PLACE
    ):
        raise RecipeError(f"points of {path} are not at the centres of the map's pixels")
    return np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
