"""Publish a finished run: what others load, what catalogues accept, written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsscale.decorators.first_argument import made_by
from rsscale.finished_runs.finished_run import FinishedRun, read_finished
from rsscale.finished_runs.publishing_checks import check_gates, without_gates
from rsscale.progress.bars import progress
from rsscale.publishing import stac
from rsscale.publishing.about import About, read_about
from rsscale.publishing.cog_files import (
    CogLayer,
    earlier_assets,
    fingerprint,
    write_files,
    write_legends,
)
from rsscale.publishing.data_card import data_card
from rsscale.publishing.pieces import Cut, Piece, bbox_of, pieces
from rsscale.publishing.provenance import write_provenance
from rsscale.publishing.selection import Selection
from rsscale.publishing.tables import (
    MEASURED,
    OBJECTS,
    PublishedObjects,
    write_counts,
    write_measured,
    write_objects,
    write_zones,
)
from rsscale.publishing.target import (
    COLLECTION,
    FORMAT,
    MARKER,
    RecordedStorage,
    Target,
    WrittenFile,
    claim,
)
from rsscale.publishing.zarr_copy import copy_store, remove_stale, store_name
from rsscale.runs.run import Run
from rsscale.store.storage import open_storage
from rsscale.text.wording import counted
from rsscale.viewer.static import write_viewer

_OURS = ("cogs", "items", "styles", "tables", "provenance", "gates", "viewer", OBJECTS)


@made_by("rs.publish(run, path)")
@dataclass(frozen=True)
class Publication:
    """What was published.

    Attributes
    ----------
    url : str
        The folder or address.
    collection : str
        Of its ``collection.json``.
    items : int
        STAC items.
    written, kept, removed : int
        Objects that were put, that were there as they should be, and that were of an older
        version and went.
    notes : tuple of str
        Lines on what a person should know, such as that no quality gates were checked.
    """

    url: str
    collection: str
    items: int
    written: int
    kept: int
    removed: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = (
            f"{counted(self.items, 'item')}, {counted(self.written, 'object')} written, "
            f"{self.kept:,} there already, {self.removed:,} removed"
        )
        return "\n".join([self.collection, counts, *self.notes])


def publish(
    run: Run | str | Path,
    target: str | Path,
    *,
    cogs: Cut = "whole",
    steps: Sequence[str] = (),
    layers: Sequence[str] = (),
    periods: Sequence[int | str] = (),
    regions: str | Path | None = None,
    region_id: str | None = None,
    regions_layer: str | None = None,
    about: str | Path | Mapping[str, Any] | About | None = None,
    model: bool = True,
    partial: bool = False,
    override: Sequence[str] = (),
) -> Publication:
    """Publish a finished run into a folder or bucket, as a product that anyone can open.

    Written are the Zarr stores of the steps with overviews; Cloud Optimized GeoTIFFs with styles
    for QGIS; objects as GeoParquet and GeoPackage, also of a run that has no layers; STAC 1.1 items
    and a collection; tables of zones and of counted objects as GeoParquet; what was measured; the
    report; the recipe, models and input items; and a data card. ``collection.json`` comes last:
    where it is, all is. No file has a token or a path of this machine.

    Published again, what is there is left as it is; after a kill it goes on. Tiles and windows are
    read one by one, so that memory does not grow with the area.

    Parameters
    ----------
    run : Run, path or address
        A finished run.
    target : path or address
        An empty folder or prefix (``s3://…`` with the extra ``rsscale[buckets]``), or an earlier
        publication of the same product.
    cogs : str
        ``"whole"``: a file for each layer and period; ``"tile"``, ``"region"``: one for each of
        these too; ``"none"``: Zarr only. Objects are always one file a step.
    steps, layers, periods : sequence
        What is published: all when empty. A step has layers or objects, or counts objects. Layers
        and periods choose GeoTIFFs; a Zarr store or a file of objects is whole.
    regions : path, optional
        Polygons for ``cogs="region"``; pixels whose centre lies outside are nodata.
    region_id : str, optional
        Column of their id, which names the files.
    regions_layer : str, optional
        Layer of their file.
    about : path, mapping or About, optional
        Title, licence, providers, citation: see docs/publishing.md.
    model : bool
        Publish the models that the product was made with.
    partial : bool
        Publish a run of which tiles are not done; they are nodata.
    override : sequence of str
        Quality gates that may fail, by name.

    Returns
    -------
    Publication

    Raises
    ------
    RunFolderError
        When the run is not finished or damaged, a gate failed, or the target holds another
        product.
    RecipeError
        When an argument is wrong.
    StorageError
        When the target can't be written; publish again to go on.
    """
    said = read_about(about)
    finished = read_finished(run if isinstance(run, Run) else Run(run), steps, partial=partial)
    overridden = check_gates(finished, override)
    cut = list(pieces(finished, cogs, regions, region_id, regions_layer))
    has_files = cogs != "none" and bool(finished.steps)
    selection = Selection(tuple(layers), tuple(map(str, periods)), has_files, cut)
    selection.check(finished)
    collection = stac.collection_id(finished, said)
    place, removed = _open_target(target, finished, collection)
    product = _write_product(
        finished, said, selection, place, collection, weights=model, by_tile=cogs == "tile"
    )
    product.files.append(place.put_text("README.md", _card(finished, said, product, overridden)))
    finished.check_unchanged()
    removed += place.remove_others(_OURS, MEASURED)
    # Last: the mark that all of it is there.
    place.put_json(COLLECTION, _collection(finished, product, overridden))
    mark = f"{place.url}/{COLLECTION}"
    notes = tuple(without_gates(finished))
    return Publication(
        place.url, mark, len(product.drafts), place.written, place.kept, removed, notes
    )


@dataclass(frozen=True)
class _Product:
    """What was written before the data card and the collection, which tell of it.

    Attributes
    ----------
    catalogue : Catalogue
    selection : Selection
    layers : sequence of CogLayer
        That are GeoTIFFs; none where the product has no such files.
    objects : sequence of PublishedObjects
    drafts : sequence of ItemDraft
        Of the STAC items.
    files : list of WrittenFile
        Beside layers and objects.
    """

    catalogue: stac.Catalogue
    selection: Selection
    layers: Sequence[CogLayer]
    objects: Sequence[PublishedObjects]
    drafts: Sequence[stac.ItemDraft]
    files: list[WrittenFile]


def _open_target(target: str | Path, finished: FinishedRun, collection: str) -> tuple[Target, int]:
    """The place to publish to, and how many objects of an older version went from it.

    They go before anything is copied: overviews are made of what lies there.
    """
    identity = {
        "id": collection,
        "grid": dict(finished.state["grid"]),
        "bbox": bbox_of(finished.area.geom),
    }
    place = claim(open_storage(target), identity, finished.folder.storage)
    is_complete = _begin(place, identity, finished)
    return place, 0 if is_complete else remove_stale(finished, place)


def _write_product(
    finished: FinishedRun,
    about: About,
    selection: Selection,
    place: Target,
    collection: str,
    *,
    weights: bool,
    by_tile: bool,
) -> _Product:
    """Write stores, provenance, objects, the files of each item, and what lies beside them."""
    with progress("publish", selection.count(finished), "tiles") as bar:
        for step in finished.steps:
            bar.note(store_name(step))
            copy_store(finished, step, place, bar.advance)
        layers = selection.cog_layers(finished, place)
        provenance, files = write_provenance(finished, place, weights=weights, by_tile=by_tile)
        catalogue = stac.Catalogue(finished, about, provenance, collection)
        objects = write_objects(finished, place)
        drafts = list(selection.drafts(catalogue, layers, objects))
        _write_items(catalogue, drafts, selection.by_period(objects), place, bar)
    as_files = layers if selection.has_files else []
    files += _write_beside(finished, as_files, place)
    items = [draft for draft, _ in drafts]
    return _Product(catalogue, selection, as_files, objects, items, files)


def _write_items(
    catalogue: stac.Catalogue,
    drafts: Sequence[tuple[stac.ItemDraft, Sequence[CogLayer]]],
    objects: Mapping[str, Sequence[PublishedObjects]],
    place: Target,
    bar: Any,
) -> None:
    """Write the GeoTIFFs of each period and piece, and then its item.

    An item without GeoTIFFs names the stores that have its period.
    """
    finished = catalogue.finished
    for draft, of_span in drafts:
        bar.note(draft.id)
        known = earlier_assets(place, draft.name)
        assets = {} if of_span else _stores(finished, draft.span)
        for layer in of_span:
            made = fingerprint(finished, layer, draft.piece)
            written = write_files(layer, draft.piece, place, made, known.get(layer.title))
            assets |= _assets(layer, draft.piece, written, made)
            bar.advance()
        if not draft.piece.name:  # files of objects are whole
            for step_objects in objects.get(draft.span, ()):
                assets |= step_objects.assets("../")
        place.put_json(draft.name, catalogue.item(draft, assets))


def _write_beside(
    finished: FinishedRun, of_layers: Sequence[CogLayer], place: Target
) -> list[WrittenFile]:
    """Legends, tables, what was measured, and the page that shows it all."""
    seen: dict[str, CogLayer] = {}
    for layer in of_layers:
        seen.setdefault(layer.title, layer)
    files = [file for layer in seen.values() for file in write_legends(layer, place)]
    files += write_zones(finished, place)
    files += write_counts(finished, place)
    files += write_measured(finished, place)
    recorded: Any = RecordedStorage(place.storage)
    for name in write_viewer(finished.folder, recorded, (*finished.stored, *finished.counts)):
        place.take(name, is_new=name in recorded.written)
    return files


def _card(
    finished: FinishedRun,
    about: About,
    product: _Product,
    overridden: Sequence[Mapping[str, Any]],
) -> str:
    """The data card of what was written."""
    layers, cut = product.layers, product.selection.cut
    return data_card(
        finished,
        about,
        files=[file.name for file in product.files],
        objects={step.step: step.summaries for step in product.objects},
        overridden=overridden,
        example=layers[0].name(cut[0]) if layers else "",
    )


def _collection(
    finished: FinishedRun, product: _Product, overridden: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The STAC collection of what was written."""
    return product.catalogue.collection(
        product.drafts,
        _collection_assets(finished, product.files, product.objects),
        {layer.title: stac.item_asset(layer) for layer in product.layers},
        {"rsscale:versions": dict(finished.versions), "rsscale:gates_overridden": overridden},
    )


def _begin(place: Target, identity: Mapping[str, Any], finished: FinishedRun) -> bool:
    """Say what is being published; a catalogue of an older version goes first.

    Returns whether it was published whole before.
    """
    marker = {"format": FORMAT, **identity, "versions": dict(finished.versions)}
    before = place.written
    place.put_json(MARKER, marker)
    if place.written > before:
        place.storage.delete(COLLECTION)
    return place.storage.exists(COLLECTION)


def _assets(
    layer: CogLayer, piece: Piece, written: Sequence[WrittenFile], made: str
) -> dict[str, Any]:
    assets = {layer.title: stac.cog_asset(layer, piece, written[0], made)}
    for file in written[1:]:
        is_style = file.name.endswith(".qml")
        title = (
            f"Style of {layer.title} for QGIS" if is_style else f"Names of {layer.title} for GDAL"
        )
        role = "style" if is_style else "metadata"
        key = f"{layer.title}_{'style' if is_style else 'names'}"
        assets[key] = stac.asset(file, up="../", title=title, roles=[role])
    return assets


def _stores(finished: FinishedRun, span: str) -> dict[str, Any]:
    """Assets of an item without files of its own: the stores that have its period."""
    return {
        store_name(step).removesuffix(".zarr"): {
            **stac.zarr_asset(finished, step, store_name(step)),
            "href": f"../{store_name(step)}",
        }
        for step in finished.steps
        if span in finished.spans(step)
    }


def _collection_assets(
    finished: FinishedRun, files: Sequence[WrittenFile], objects: Sequence[PublishedObjects]
) -> dict[str, Any]:
    assets = {
        store_name(step).removesuffix(".zarr"): stac.zarr_asset(finished, step, store_name(step))
        for step in finished.steps
    }
    for step_objects in objects:
        assets |= step_objects.assets()
    for file in files:
        if not file.name.startswith(("gates/", "provenance/models/")):
            assets[file.name] = stac.asset(file, roles=[file.role])
    return assets
