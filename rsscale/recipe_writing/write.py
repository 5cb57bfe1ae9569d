"""A recipe with comments, from answers and what the catalogue has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyproj
import yaml
from pyproj.aoi import AreaOfInterest

from rsscale.cube.mask_rules import PRESETS
from rsscale.errors import RecipeError
from rsscale.geo.area import read_area
from rsscale.net.signing import check_name
from rsscale.recipe import read_recipe
from rsscale.recipe_writing.answers import Answers, LabelColumns, label_columns
from rsscale.recipe_writing.imagery import Imagery, probe_imagery
from rsscale.recipe_writing.label_split import learning_lines
from rsscale.text.wording import counted

if TYPE_CHECKING:
    from odc.geo.geom import Geometry

_SHOWN = 8
_SAMPLED = 10_000  # pixels that tell how classes change
_TILES = (256, 512, 1024, 2048)
_UTM_LATITUDES = (-80.0, 84.0)
_MOST_DEGREES = 9.0  # a zone and a half; wider areas are better in another projection
_COMMENT = "  # "
_MOST_INDENT = 56  # columns to which comments of a block are moved


def new_recipe(answers: Answers, path: str | Path = "recipe.yaml") -> Path:
    """Write a recipe with comments that :func:`rsscale.plan` and :func:`rsscale.train` take.

    The catalogue is asked for its collections and for items at a place inside the area.

    Parameters
    ----------
    answers : Answers
    path : path
        Must not be there yet. Paths in the recipe count from its folder.

    Returns
    -------
    Path

    Raises
    ------
    RecipeError
        When the file is there, or an answer can't be used.
    CatalogError, AreaError, BandError
        When the catalogue has nothing for them.
    """
    target = Path(path)
    refuse_existing(target)
    if not answers.periods:
        raise RecipeError("there are no periods; give years with --periods, such as 2023 2024")
    if answers.access is not None:
        check_name(answers.access)
    area = read_area(answers.box or answers.area)
    columns = label_columns(answers.labels, answers.class_) if answers.labels else LabelColumns()
    imagery = probe_imagery(
        answers.catalog, answers.collection, area, answers.periods,
        bands=answers.bands, sign=answers.access, cloud_cover=answers.cloud_cover,
    )  # fmt: skip
    folder = _full(target).parent
    text = _aligned(list(_lines(answers, imagery, area, columns, folder)))
    _check(text, folder, area)
    # Never over a file that came meanwhile.
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
    return target


def refuse_existing(target: Path) -> None:
    """Refuse a file that is there, or one in a folder that is not.

    Raises
    ------
    RecipeError
    """
    if target.exists():
        raise RecipeError(f"{target} is there already; give another name with --to")
    if not target.parent.is_dir():
        raise RecipeError(f"there is no folder {target.parent}; make it first")


def _aligned(lines: list[str]) -> str:
    """Lines whose comments stand below one another, block by block."""
    done: list[str] = []
    for is_blank, block in groupby(lines, key=lambda line: not line):
        parts = [line.partition(_COMMENT) for line in block]
        widths = [len(key.rstrip()) for key, comment, _ in parts if comment]
        width = max((width for width in widths if width <= _MOST_INDENT), default=0)
        for key, comment, rest in parts:
            text = f"{key.rstrip():<{width}}{_COMMENT}{rest}" if comment else key
            done.append("" if is_blank else text)
    return "\n".join(done) + "\n"


def _check(text: str, folder: Path, area: Geometry) -> None:
    """Read the recipe as it will be read, and lay its grid over the area."""
    content: Any = yaml.safe_load(text)
    for keys, name in (
        (content, "area"), (content, "model"), (content.get("train", {}), "labels"),
        *((source, "catalog") for source in content["inputs"].values()),
    ):  # fmt: skip
        if name in keys and "://" not in keys[name]:
            keys[name] = str(folder / keys[name])
    read_recipe(content).grid.build().geobox(area)


def _lines(
    answers: Answers, imagery: Imagery, area: Geometry, columns: LabelColumns, folder: Path
) -> Iterator[str]:
    name = _text(answers.title(imagery.collection))
    yield "# Made by `rsscale recipe new`: read it, and change what does not fit."
    yield "# What each key means: docs/reference/recipe.md. An unknown key is refused, with the"
    yield "# nearest one that exists; `rsscale recipe schema` lets editors complete them."
    yield ""
    yield f"name: {name}"
    yield from _area_lines(answers, folder)
    yield from _grid_lines(answers, imagery, area)
    years = ", ".join(map(str, sorted(set(answers.periods))))
    yield f"periods: [{years}]  # one map each"
    yield ""
    yield from _input_lines(answers, imagery, folder)
    yield "model: model  # a folder; rsscale train writes it"
    yield ""
    yield from _train_lines(answers, columns, folder, _learning(answers, imagery, area))
    is_of_years = len(set(answers.periods)) > 1
    layers = "classification, confidence, observations"
    if is_of_years:
        yield f"output: {{layers: [{layers}, probability]}}  # change is told by probabilities"
        yield ""
        every = _sample_every(area, answers.resolution or imagery.resolution)
        if every is None:
            yield "# What changed between the first year and the last; docs/change.md."
            first, last = min(answers.periods), max(answers.periods)
            yield f"change: {{from: {first}, to: {last}, method: temporal-model}}"
            yield ""
        yield "steps:"
        if every is not None:
            yield "  # What changed between the years, told by all of them; docs/change.md. In a"
            yield "  # small area how classes change is learnt from more pixels than else."
            yield f"  change: {{kind: temporal-model, of: map, sample_every: {every}}}"
        yield "  transitions: {kind: transitions, of: change}  # hectares of each from and to"
    else:
        yield f"output: {{layers: [{layers}]}}  # or also probability"
        yield ""
        yield "steps:"
    yield "  overviews: {kind: overviews, of: map}  # levels in the product, for viewers"


def _sample_every(area: Geometry, resolution: float | None) -> int | None:
    """How dense the sample of a temporal model must be; None where the usual one is enough."""
    pixels = area.to_crs("EPSG:6933").area / (resolution or 1) ** 2
    enough = [every for every in (8, 4, 2) if pixels / every**2 >= _SAMPLED]
    return None if 8 in enough else max(enough, default=1)


def _area_lines(answers: Answers, folder: Path) -> Iterator[str]:
    if answers.box is not None:
        yield f"bbox: [{', '.join(_outward(answers.box))}]  # west, south, east, north"
    else:
        yield f"area: {_path(answers.area, folder)}  # polygons in any CRS"


def _outward(box: Sequence[float]) -> Iterator[str]:
    """Edges of a box in degrees with six digits after the point, a tenth of a metre, no less."""
    for edge, away in zip(box, (ROUND_FLOOR,) * 2 + (ROUND_CEILING,) * 2, strict=True):
        yield f"{Decimal(str(edge)).quantize(Decimal('0.000001'), away).normalize():f}"


def _grid_lines(answers: Answers, imagery: Imagery, area: Geometry) -> Iterator[str]:
    crs, why = (answers.crs, "as asked for") if answers.crs else _crs(imagery, area)
    resolution = answers.resolution or imagery.resolution
    if resolution is None:
        raise RecipeError(
            f"the items of {imagery.collection} do not say how wide a pixel is; give it with "
            "--resolution, in metres"
        )
    finest = "as asked" if answers.resolution else "as the finest of the bands"
    # Of a known product all zones begin alike; pixels of another CRS begin anywhere in this one.
    is_alike = imagery.product is not None or imagery.crs in (None, crs)
    is_kept = resolution == imagery.resolution and is_alike
    origin = imagery.origin if is_kept else (0.0, 0.0)
    yield ""
    yield "# The pixel grid of all maps; tiles are counted from its origin, never from the area."
    yield "grid:"
    yield f"  crs: {crs}  # {why}"
    yield f"  resolution: {resolution:g}  # metres, {finest}"
    if origin != (0, 0):
        yield f"  origin: [{origin[0]:g}, {origin[1]:g}]  # where pixels of this imagery begin"
    tile = _tile(area, crs, resolution)
    yield f"  tile: {tile}  # pixels; one task each. " + (
        "Smaller where memory is short" if tile == _TILES[-1] else "Wide enough for this area"
    )
    yield ""


def _tile(area: Geometry, crs: str, resolution: float) -> int:
    """Pixels of a tile: the usual ones, fewer where the area would fill a part of one."""
    left, bottom, right, top = area.to_crs(crs).boundingbox.bbox
    pixels = max(right - left, top - bottom) / resolution
    return next((size for size in _TILES if size >= pixels), _TILES[-1])


def _crs(imagery: Imagery, area: Geometry) -> tuple[str, str]:
    """The UTM zone of the area; the imagery's own projection where that is no UTM."""
    own = pyproj.CRS(imagery.crs) if imagery.crs else None
    is_metric = own is not None and own.is_projected and own.axis_info[0].unit_name == "metre"
    if imagery.crs and own is not None and is_metric and own.utm_zone is None:
        return imagery.crs, "of the imagery, whose pixels are kept so"
    west, south, east, north = area.boundingbox.bbox
    if not (_UTM_LATITUDES[0] <= south and north <= _UTM_LATITUDES[1]):
        raise RecipeError(
            f"the area reaches from {south:g} to {north:g} degrees north, beyond UTM; give a "
            "projected CRS in metres with --crs, such as EPSG:3995 (Arctic) or EPSG:3031"
        )
    if east - west > _MOST_DEGREES:
        raise RecipeError(
            f"the area is {east - west:.1f} degrees wide, too wide for a UTM zone; give a "
            "projected CRS in metres with --crs, such as EPSG:3035 (Europe) or EPSG:5070 (USA)"
        )
    place = area.geom.centroid
    zones = pyproj.database.query_utm_crs_info(
        datum_name="WGS 84", area_of_interest=AreaOfInterest(place.x, place.y, place.x, place.y)
    )
    crs = f"EPSG:{zones[0].code}"
    other = f"; items there are in {imagery.crs}" if imagery.crs not in (None, crs) else ""
    return crs, f"UTM zone of the middle of the area{other}"


def _input_lines(answers: Answers, imagery: Imagery, folder: Path) -> Iterator[str]:
    more = ", ".join(imagery.others[:_SHOWN]) + (", …" if len(imagery.others) > _SHOWN else "")
    yield "inputs:"
    yield f"  {_input_name(imagery)}:"
    yield f"    catalog: {_path(answers.catalog, folder)}"
    yield f"    collection: {_text(imagery.collection)}"
    if answers.access is not None:
        yield f"    sign: {answers.access}  # how files are reached"
    bands = ", ".join(map(_text, imagery.bands))
    yield f"    bands: [{bands}]" + (f"  # also there: {more}" if more else "")
    if imagery.has_clouds:
        cover = f"{answers.cloud_cover:g}"
        yield f'    query: {{"eo:cloud_cover": {{lt: {cover}}}}}  # cloudier scenes are left out'
    if imagery.mask is not None:
        yield f"    mask: {{preset: {imagery.mask}, dilate: 60}}  # {_of_mask(imagery)}"
    else:
        yield "    # No preset is known for this imagery: mask: {band: NAME, keep: [CODES]}"
    if imagery.product in ("sentinel-2", "hls"):
        yield "    merge_days: true  # scenes of a day that overlap count as one observation"
    yield f"    {imagery.seasons.composite_line()}"
    yield ""


def _learning(answers: Answers, imagery: Imagery, area: Geometry) -> list[str]:
    resolution = answers.resolution or imagery.resolution
    return learning_lines(answers.labels, area, resolution) if answers.labels and resolution else []


def _train_lines(
    answers: Answers, columns: LabelColumns, folder: Path, learning: list[str]
) -> Iterator[str]:
    if answers.labels is None:
        yield "# No labels were given; with them, rsscale train makes the model:"
        yield "# train: {labels: labels.gpkg, class: COLUMN}"
        yield ""
        return
    yield "train:"
    yield f"  labels: {_path(answers.labels, folder)}"
    if columns.class_ is not None:
        yield f"  class: {_text(columns.class_)}  # the column of the class"
    if columns.year is not None:
        yield f"  period_column: {_text(columns.year)}  # of the year that a label is true for"
    elif len(set(answers.periods)) > 1:
        yield f"  periods: [{min(answers.periods)}]  # a guess: the years that labels are true for"
    yield from (f"  {line}" for line in learning)
    yield ""


def _input_name(imagery: Imagery) -> str:
    names = {"sentinel-2": "s2", "landsat": "landsat", "hls": "hls", "dea": "dea"}
    return names.get(imagery.product or "", "scenes")  # steps may be called imagery


def _of_mask(imagery: Imagery) -> str:
    around = "and 60 m around clouds"
    if imagery.product is not None or imagery.mask is None:
        return around
    rule = PRESETS[imagery.mask]
    return f"{around}; see that codes of {rule.band!r} are those that the preset knows"


def _path(given: str, folder: Path) -> str:
    """A path from the recipe's folder where it lies in that, as given otherwise; an address as is.

    One that was given from the working folder counts from the recipe's.
    """
    if "://" in given:
        return _text(given)
    path = Path(given).expanduser()
    full = _full(path)
    if path.is_absolute() and not full.is_relative_to(folder):
        return _text(str(full))
    return _text(os.path.relpath(full, folder))


def _full(path: Path) -> Path:
    """From the root, without ``..``; links stay as a person named them."""
    return Path(os.path.normpath(path.absolute()))


def _text(value: str) -> str:
    """A text as YAML, quoted where it must be."""
    dumped: str = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True)
    return dumped.removesuffix("\n").removesuffix("\n...")


def summary(path: Path) -> str:
    """What was written, and the commands that go on."""
    recipe = read_recipe(path)
    (source,) = recipe.inputs.values()
    train = f"rsscale train {path}\n" if recipe.train else ""
    return (
        f"{path}: {source.collection} with {counted(len(source.bands), 'band')}, {recipe.grid.crs} "
        f"at {recipe.grid.resolution:g} m, {', '.join(map(str, recipe.periods))}\n"
        f"Read it, it has comments; then:\n{train}rsscale plan {path}\nrsscale run {path}"
    )
