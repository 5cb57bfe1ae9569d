"""Publish a finished run: what others load, what catalogues accept, written once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsscale.decorators.first_argument import made_by
from rsscale.errors import RecipeError, nearest
from rsscale.finished_runs.finished_run import FinishedRun, read_finished
from rsscale.finished_runs.publishing_checks import check_gates, without_gates
from rsscale.progress.bars import progress
from rsscale.publishing import stac
from rsscale.publishing.about import About, read_about
from rsscale.publishing.cog_files import (
    CogLayer,
    cog_layers,
    earlier_assets,
    fingerprint,
    value_ranges,
    write_files,
    write_legends,
)
from rsscale.publishing.data_card import data_card
from rsscale.publishing.pieces import Cut, Piece, bbox_of, pieces, whole
from rsscale.publishing.provenance import write_provenance
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
from rsscale.publishing.zarr_copy import copy_store, remove_stale, shard_count, store_name
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
    chosen = _Chosen(tuple(layers), tuple(map(str, periods)), has_files, cut)
    chosen.check(finished)
    collection = stac.collection_id(finished, said)
    identity = {
        "id": collection,
        "grid": dict(finished.state["grid"]),
        "bbox": bbox_of(finished.area.geom),
    }
    place = claim(open_storage(target), identity, finished.folder.storage)
    is_complete = _begin(place, identity, finished)
    # Before anything is copied: overviews are made of what lies there.
    removed = 0 if is_complete else remove_stale(finished, place)
    with progress("publish", chosen.count(finished), "tiles") as bar:
        for step in finished.steps:
            bar.note(store_name(step))
            copy_store(finished, step, place, bar.advance)
        of_layers = chosen.layers_of(finished, place)
        provenance, files = write_provenance(finished, place, weights=model, by_tile=cogs == "tile")
        catalogue = stac.Catalogue(finished, said, provenance, collection)
        objects = write_objects(finished, place)
        drafts = _write_items(
            catalogue,
            list(chosen.drafts(catalogue, of_layers, objects)),
            chosen.by_period(objects),
            place,
            bar,
        )
    files += _write_beside(finished, of_layers if chosen.has_files else [], place)
    card = data_card(
        finished,
        said,
        files=[file.name for file in files],
        objects={step.step: step.summaries for step in objects},
        overridden=overridden,
        example=of_layers[0].name(cut[0]) if chosen.has_files and of_layers else "",
    )
    files.append(place.put_text("README.md", card))
    finished.check_unchanged()
    removed += place.remove_others(_OURS, MEASURED)
    document = catalogue.collection(
        drafts,
        _collection_assets(finished, files, objects),
        {draft.title: stac.item_asset(draft) for draft in of_layers if chosen.has_files},
        {"rsscale:versions": dict(finished.versions), "rsscale:gates_overridden": overridden},
    )
    place.put_json(COLLECTION, document)  # last: the mark that all of it is there
    mark = f"{place.url}/{COLLECTION}"
    notes = tuple(without_gates(finished))
    return Publication(place.url, mark, len(drafts), place.written, place.kept, removed, notes)


@dataclass(frozen=True)
class _Chosen:
    """What is to be files: layers and periods by name, all where none is named; the pieces."""

    layers: tuple[str, ...]
    periods: tuple[str, ...]
    has_files: bool
    cut: Sequence[Piece]

    def check(self, finished: FinishedRun) -> None:
        """Refuse names that the run does not have."""
        names = [layer.name for step in finished.steps for layer in finished.layers(step)]
        spans = finished.all_spans
        for kind, wanted, known in (("layer", self.layers, names), ("period", self.periods, spans)):
            for name in wanted:
                if name not in known:
                    raise RecipeError(
                        f"there is no {kind} {name!r}; there are "
                        f"{', '.join(dict.fromkeys(known)) or 'none'}{nearest(name, known)}"
                    )
        of_objects = {span for step in finished.objects for span in finished.spans(step)}
        has_objects = bool(of_objects.intersection(self.periods) if self.periods else of_objects)
        if self.has_files and not has_objects and not self._named(finished):
            raise RecipeError(
                f"no layer {' or '.join(self.layers) or 'that is published'} has the period "
                f"{' or '.join(self.periods)}; name a layer and period that belong together"
            )

    def _named(self, finished: FinishedRun) -> list[tuple[str, str]]:
        """Layers with each of their periods, of those that are named."""
        return [
            (layer.name, span)
            for step in finished.steps
            for layer in finished.layers(step)
            for span in finished.spans(step)
            if (not self.layers or layer.name in self.layers)
            and (not self.periods or span in self.periods)
        ]

    def by_period(self, objects: Sequence[PublishedObjects]) -> dict[str, list[PublishedObjects]]:
        """Objects by period, of the periods that are named."""
        by_span: dict[str, list[PublishedObjects]] = {}
        for step in objects:
            for summary in step.summaries:
                if not self.periods or summary.span in self.periods:
                    by_span.setdefault(summary.span, []).append(step)
        return by_span

    def layers_of(self, finished: FinishedRun, place: Target) -> list[CogLayer]:
        """The layers of each period."""
        return cog_layers(finished, self.layers, self.periods, value_ranges(finished, place))

    def drafts(
        self,
        catalogue: stac.Catalogue,
        of_layers: Sequence[CogLayer],
        objects: Sequence[PublishedObjects],
    ) -> Iterator[tuple[stac.ItemDraft, Sequence[CogLayer]]]:
        """Items, each with the layers that are to be its files: all of a period and piece.

        Periods of objects have an item of the whole product, with its layers where these are whole.
        """
        of_periods = self.by_period(objects)
        by_span: dict[str, list[CogLayer]] = {}
        for layer in of_layers:
            by_span.setdefault(layer.span, []).append(layer)
        every = whole(catalogue.finished)
        for span in dict.fromkeys((*by_span, *of_periods)):
            cut = list(self.cut) if span in by_span else []
            of_span = by_span.get(span, []) if self.has_files else []
            for piece in cut:
                tail = f"-{piece.name}" if piece.name else ""
                yield stac.ItemDraft(f"{catalogue.id}-{span}{tail}", span, piece), of_span
            if span in of_periods and all(piece.name for piece in cut):
                yield stac.ItemDraft(f"{catalogue.id}-{span}", span, every), []

    def count(self, finished: FinishedRun) -> int:
        """Tiles and files, for the progress bar."""
        tiles = sum(shard_count(finished, step) for step in finished.steps)
        return tiles + len(self._named(finished)) * len(self.cut) * self.has_files


def _write_items(
    catalogue: stac.Catalogue,
    drafts: Sequence[tuple[stac.ItemDraft, Sequence[CogLayer]]],
    objects: Mapping[str, Sequence[PublishedObjects]],
    place: Target,
    bar: Any,
) -> list[stac.ItemDraft]:
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
    return [draft for draft, _ in drafts]


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
