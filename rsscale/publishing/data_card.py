"""The data card: README.md of a product, for whoever finds the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.legend.flags import flag_classes
from rsscale.object_files.summary import ObjectSummary
from rsscale.publishing.about import About
from rsscale.publishing.provenance import lineage, sources_of
from rsscale.publishing.stac import citation, version_of
from rsscale.publishing.zarr_copy import store_name
from rsscale.text import wording

_DASH = "–"  # noqa: RUF001 -- a dash as in tables


def data_card(
    finished: FinishedRun,
    about: About,
    *,
    files: Sequence[str],
    objects: Mapping[str, Sequence[ObjectSummary]],
    overridden: Sequence[Mapping[str, Any]],
    example: str,
) -> str:
    """What the product is, how it was made, how right it is, and how to open it.

    Parameters
    ----------
    finished : FinishedRun
    about : About
    files : sequence of str
        What is published beside layers and objects, from the root.
    objects : mapping of step to sequence of ObjectSummary
        Steps that hold objects, with what they have found in each period.
    overridden : sequence of mapping
        Quality gates that failed and were overridden.
    example : str
        A GeoTIFF among the files; empty where there is none.
    """
    sections = [
        _head(finished, about),
        _layers(finished),
        _classes(finished),
        _objects(objects),
        _accuracy(finished),
        _areas(finished),
        _quality(finished, overridden),
        _limits(finished, about),
        _how_made(finished),
        _open(finished, example, files, list(objects)),
        _rights(finished, about),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in map(list, sections) if lines)


def _head(finished: FinishedRun, about: About) -> Iterator[str]:
    first, last = finished.years
    yield f"# {about.title or finished.name}"
    yield ""
    if about.description:
        yield about.description
        yield ""
    grid = finished.grid
    spans = ", ".join(finished.all_spans)
    yield "| | |"
    yield "| --- | --- |"
    yield f"| Version | {version_of(finished, about)} |"
    yield f"| Years | {first}{f' to {last}' if last != first else ''} (periods {spans}) |"
    yield f"| Grid | {grid.crs}, pixels of {grid.resolution:g} {_unit(grid.crs)} |"
    yield f"| Computed | {finished.updated} |"
    if about.contact:
        yield f"| Contact | {about.contact} |"
    yield f"| Licence | {_licence(about)} |"


def _layers(finished: FinishedRun) -> Iterator[str]:
    if not finished.steps:
        return
    yield "## Layers"
    yield ""
    yield "| store | layer | what it holds | type | no value | value |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for step in finished.steps:
        for layer in finished.layers(step):
            meaning = str(layer.attributes.get("long_name", layer.name))
            units = str(layer.attributes.get("units", ""))
            value = f"{layer.scale:g} * stored + {layer.offset:g}" if layer.is_scaled else "stored"
            value += f", {units}" if units else ""
            axis = f", along {layer.axis.name}" if layer.axis else ""
            name = f"`{store_name(step)}` | `{layer.name}`"
            yield f"| {name} | {meaning}{axis} | {layer.dtype} | {layer.nodata:g} | {value} |"


def _classes(finished: FinishedRun) -> Iterator[str]:
    seen: dict[tuple[Any, ...], list[str]] = {}
    for step in finished.steps:
        for layer in finished.layers(step):
            classes = flag_classes(layer.attributes)
            if classes:
                seen.setdefault(classes, []).append(f"`{layer.name}` of {step}")
    if not seen:
        return
    yield "## Classes"
    for classes, layers in seen.items():
        yield ""
        yield f"Of {', '.join(layers)}:"
        yield ""
        yield "| value | class | colour |"
        yield "| --- | --- | --- |"
        yield from (
            f"| {land_class.value} | {_cell(land_class.name)} | {land_class.color} |"
            for land_class in classes
        )


def _objects(objects: Mapping[str, Sequence[ObjectSummary]]) -> Iterator[str]:
    if not objects:
        return
    yield "## Objects"
    yield ""
    yield "Each object is there once, with its class, area and outline. Areas are of whole objects;"
    yield "those in the last column reach the edge of what was seen, and may be larger."
    yield ""
    yield "| file | period | class | objects | hectares | may be larger |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for step, summaries in objects.items():
        for summary in summaries:
            of = f"`objects/{step}.parquet` | {summary.span}"
            for row in summary.rows:
                cells = f"{row.objects:,} | {row.hectares:,.2f} | {row.cut:,}"
                yield f"| {of} | {_cell(row.name)} | {cells} |"
            if not summary.rows:
                yield f"| {of} | {_DASH} | 0 | {_DASH} | {_DASH} |"
    yield ""
    for step, summaries in objects.items():
        for summary in summaries:
            if summary.scores:
                yield f"- {step}, {summary.span}: {summary.scores}"
    unmeasured = [s for s, of in objects.items() if not any(summary.scores for summary in of)]
    if unmeasured:
        yield f"Not measured against true objects before it was published: {', '.join(unmeasured)}."


def _accuracy(finished: FinishedRun) -> Iterator[str]:
    if not finished.steps:
        return
    accuracy = finished.document("accuracy.json")
    yield "## Accuracy"
    yield ""
    if not isinstance(accuracy, Mapping) or not isinstance(accuracy.get("overall"), int | float):
        if finished.document("areas.json") is None:
            yield "It was not measured against a reference before it was published."
        else:
            yield "See Areas: it was estimated from a probability sample."
        return
    low, high = (accuracy.get("interval") or [None, None])[:2]
    interval = f" (95 % interval {low:.3f} to {high:.3f})" if low is not None else ""
    yield f"Overall {accuracy['overall']:.3f}{interval}; all figures are in `accuracy.json`."
    if accuracy.get("design") is None:
        yield "The reference is no probability sample: these figures say nothing of official areas."
    yield ""
    yield "| class | user's accuracy | producer's accuracy | F1 |"
    yield "| --- | --- | --- | --- |"
    classes = accuracy.get("classes") or {}
    legend = dict.fromkeys(
        land_class.name
        for step in finished.steps
        for layer in finished.layers(step)
        for land_class in flag_classes(layer.attributes)
        if land_class.name in classes
    )
    for name in legend | dict.fromkeys(classes):  # in the order of the legend
        scores = classes[name]
        cells = (scores.get(key) for key in ("users_accuracy", "producers_accuracy", "f1"))
        yield f"| {_cell(name)} | {' | '.join(_number(cell) for cell in cells)} |"


def _areas(finished: FinishedRun) -> Iterator[str]:
    areas = finished.document("areas.json")
    if not isinstance(areas, Mapping) or not isinstance(areas.get("periods"), Mapping):
        return
    yield "## Areas"
    yield ""
    confidence = areas.get("confidence", 0.95)
    yield (
        f"Estimated from a {areas.get('design', 'probability')} sample, with intervals of "
        f"{confidence:.0%}; not counted from pixels, whose errors do not cancel. All figures are "
        "in `areas.json` and `areas.csv`."
    )
    for period, figures in areas["periods"].items():
        yield ""
        yield f"### {period}"
        yield ""
        overall = figures.get("overall") or {}
        if overall.get("value") is not None:
            yield (
                f"Overall accuracy {overall['value']:.3f} "
                f"({_number(overall.get('low'))} to {_number(overall.get('high'))})."
            )
            yield ""
        yield "| class | hectares | standard error | interval | user's | producer's |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for entry in figures.get("classes") or []:
            more = [_number((entry.get(k) or {}).get("value")) for k in ("users", "producers")]
            cells = [*_area(entry.get("hectares") or {}), *more]
            yield f"| {' | '.join(map(_cell, [entry.get('name'), *cells]))} |"
    for span, figures in (areas.get("change") or {}).items():
        yield ""
        yield f"### Change {span}"
        yield ""
        yield "| from | to | hectares | standard error | interval |"
        yield "| --- | --- | --- | --- | --- |"
        changed = (figures.get("changed") or {}).get("hectares") or {}
        yield f"| {' | '.join(map(_cell, ['all', 'changed', *_area(changed)]))} |"
        for entry in figures.get("transitions") or []:
            start, end = entry.get("from"), entry.get("to")
            if start != end:
                cells = [start, end, *_area(entry.get("hectares") or {})]
                yield f"| {' | '.join(map(_cell, cells))} |"


def _area(hectares: Mapping[str, Any]) -> list[str]:
    """The cells of an area: estimate, standard error, interval."""
    if hectares.get("value") is None:
        return [f"not estimable: {hectares.get('why', '')}", "", ""]
    value, se, low, high = (_hectares(hectares.get(k)) for k in ("value", "se", "low", "high"))
    return [value, se, f"{low} to {high}" if _DASH not in (low, high) else _DASH]


def _quality(finished: FinishedRun, overridden: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    gates = finished.document("gates.json")
    yield "## Quality checks"
    yield ""
    if not isinstance(gates, Mapping):
        yield "No quality gates were checked before it was published."
        return
    unchecked = [step for step in finished.stored if step not in (gates.get("version") or {})]
    if unchecked:
        yield f"Of {', '.join(unchecked)} none were checked; those below are of the other steps."
        yield ""
    names = {gate["name"] for gate in overridden}
    for gate in gates.get("gates") or []:
        note = "; published all the same" if gate.get("name") in names else ""
        title = gate.get("title") or gate.get("name")
        yield f"- {title}: {gate.get('status')}{note}. {gate.get('text', '')}"


def _limits(finished: FinishedRun, about: About) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield from (f"- {limit}" for limit in about.limits)
    if finished.steps:
        yield "- Counts of pixels are no areas with known errors; use estimates from a sample."
    steps = finished.state["steps"]
    partial = [s for s in finished.stored
               if steps[s]["tiles"]["done"] < steps[s]["tiles"]["total"]]  # fmt: skip
    if finished.objects:
        yield "- Counts of objects are not corrected for those that were missed or are false."
    if partial:
        yield f"- Parts are missing: not all tiles of {', '.join(partial)} were done."
    if any(layer.overview == "mode" for step in finished.steps for layer in finished.layers(step)):
        yield (
            "- Overviews of classes hold the most frequent class of four pixels of the level "
            "below; measure at full resolution."
        )


def _how_made(finished: FinishedRun) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield lineage(finished)
    yield ""
    versions = finished.state.get("versions", {})
    yield f"Software: {', '.join(f'{name} {number}' for name, number in versions.items())}."
    yield ""
    yield (
        "`provenance/recipe.yaml` is the recipe, `provenance/models/` the models as STAC items, "
        "`provenance/*.parquet` the input items as stac-geoparquet."
    )


def _open(
    finished: FinishedRun, example: str, files: Sequence[str], objects: Sequence[str]
) -> Iterator[str]:
    yield "## How to open it"
    yield ""
    yield "```python"
    for step in finished.steps[:1]:
        layer = finished.layers(step)[0].name
        yield "import xarray as xr"
        yield f'xr.open_zarr("{store_name(step)}").{layer}             # all periods, (time, y, x)'
        yield f'xr.open_zarr("{store_name(step)}", group="1").{layer}  # half the resolution'
    if example:
        yield "import rioxarray"
        yield f'rioxarray.open_rasterio("{example}", masked=True)'
    for name in objects[:1]:
        yield "import geopandas"
        yield f'geopandas.read_parquet("objects/{name}.parquet")  # of a place with bbox=(…)'
    yield "import pystac"
    yield 'pystac.Collection.from_file("collection.json")'
    yield "```"
    if example:
        yield ""
        yield f"In QGIS drag `{example}` into the window: the style beside it is applied."
        yield ""
        yield "```sh"
        yield f"gdalinfo {example}"
        yield f"gdal_translate -projwin ULX ULY LRX LRY {example} part.tif"
        yield "```"
        yield ""
        yield "```r"
        yield f'terra::plot(terra::rast("{example}"))'
        yield "```"
    zones = [name for name in files if name.startswith("tables/") and name.endswith(".parquet")]
    if zones:
        yield ""
        yield f'Figures by zone: `geopandas.read_parquet("{zones[0]}")`, or drag it into QGIS.'
    if objects:
        named = " or ".join(f"`objects/{name}.gpkg`" for name in objects)
        yield ""
        yield f"In QGIS drag {named} into the window, with a layer for each period:"
        yield "the style beside it is applied."


def _rights(finished: FinishedRun, about: About) -> Iterator[str]:
    yield "## Licence, attribution, citation"
    yield ""
    yield f"Licence: {_licence(about)}."
    said = about.attribution or sources_of(finished).attribution
    if said:
        yield ""
        yield f"Attribution: {said}"
    yield ""
    yield f"Cite as: {citation(finished, about)}"


def _licence(about: About) -> str:
    if about.licence != "other":
        return about.licence
    return about.licence_url or "none was stated; ask the publisher before you use it"


def _hectares(value: Any) -> str:
    """Hectares; a dash where they are not known, which is not none."""
    return wording.hectares(value) if isinstance(value, int | float) else _DASH


def _cell(text: Any) -> str:
    """A text inside a table: names may hold what ends a cell or a row."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "not estimable"


def _unit(crs: str) -> str:
    import pyproj

    return "degrees" if pyproj.CRS(str(crs)).is_geographic else "m"
