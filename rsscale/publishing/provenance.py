"""What a product was made from: recipe, models, input items, and the scenes of each tile."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import pyarrow.parquet as pq
import yaml

from rsscale.documents import read_json
from rsscale.errors import RunFolderError
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.items import geoparquet
from rsscale.items.features import Feature
from rsscale.items.freeze import EXACT, without_secrets
from rsscale.layers import TileKey
from rsscale.model.files import REPORT_FILES
from rsscale.publishing.local_paths import publishable, publishable_recipe, without_local_paths
from rsscale.publishing.stac import GEOJSON, PARQUET, Provenance, Scenes
from rsscale.publishing.target import Target, WrittenFile
from rsscale.store.ledger import Ledger
from rsscale.text.wording import counted

FOLDER = "provenance"
_ROWS = 1000


def write_provenance(
    finished: FinishedRun, target: Target, *, weights: bool, by_tile: bool
) -> tuple[Provenance, list[WrittenFile]]:
    """Write the recipe, the models and the input items of a run beside its product.

    Nothing of it has tokens or paths of this machine: of a local file its name is left.

    Parameters
    ----------
    finished : FinishedRun
    target : Target
    weights : bool
        Publish the models too; without them they are named by their digest.
    by_tile : bool
        Collect the addresses of input items, for items that are tiles and name their scenes.
    """
    recipe = publishable_recipe(finished.recipe)
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    files = [target.put_text(f"{FOLDER}/recipe.yaml", text)]
    links: list[dict[str, Any]] = []
    models = _models(finished)
    for digest in models if weights else ():
        written = _write_model(finished, digest, target)
        files += written
        links.append(_link(written[0], GEOJSON, f"model {models[digest]}"))
    addresses: dict[str, str] = {}
    for name, count in finished.state["items"].items():
        file = _write_items(finished, name, target, addresses if by_tile else None)
        if file is not None:
            files.append(file)
            links.append(_link(file, PARQUET, f"{count:,} input items of {name}"))
    return (
        Provenance(
            lineage=lineage(finished),
            software={k: str(v) for k, v in finished.state.get("versions", {}).items()},
            links=links,
            scenes=_scenes(finished),
            addresses=addresses,
        ),
        files,
    )


def lineage(finished: FinishedRun) -> str:
    """How the product was made, in sentences."""
    steps = finished.state["steps"]
    parts = [
        f"{counted(count, 'item')} of {_source(finished, name)}"
        for name, count in finished.state["items"].items()
        if count
    ]
    read = f"From {' and '.join(parts)}. " if parts else ""
    order = ", ".join(f"{name} ({steps[name]['kind']})" for name in finished.stored)
    named = _models(finished)
    models = ", ".join(f"{name} (digest {digest})" for digest, name in named.items())
    by = f" Models: {models}." if models else ""
    said = f"{read}Steps: {order}.{by} Recipe and inputs are in {FOLDER}/."
    return without_local_paths(said)


def _source(finished: FinishedRun, name: str) -> str:
    given = (finished.recipe.get("inputs") or {}).get(name) or {}
    collection = given.get("collection") or given.get("collections") or name
    bands = ", ".join(map(str, given.get("bands") or []))
    return f"{collection} ({bands})" if bands else str(collection)


def _models(finished: FinishedRun) -> dict[str, str]:
    """Digest and name of each model that a step used."""
    digests: dict[str, str] = {}
    for kept in finished.state["attachments"].values():
        for room, digest in kept.values():
            if room == "models" and digest not in digests:
                item = _model_item(finished, digest)
                digests[digest] = str(item.get("properties", {}).get("mlm:name") or item.get("id"))
    return digests


def _model_item(finished: FinishedRun, digest: str) -> dict[str, Any]:
    item = finished.document(f"models/{digest}/item.json")
    if not isinstance(item, dict):
        raise RunFolderError(
            f"{finished.folder.url} is damaged: its model {digest} is not there any more"
        )
    return item


def _write_model(finished: FinishedRun, digest: str, target: Target) -> list[WrittenFile]:
    """Its item first, then the weights as they are; where it was trained stays with the run."""
    folder, source = f"{FOLDER}/models/{digest}", finished.folder
    item = target.put_json(f"{folder}/item.json", _model_item(finished, digest))
    names = [name.rpartition("/")[2] for name in source.storage.names(f"models/{digest}")]
    return [
        item,
        *(
            target.put(f"{folder}/{name}", source.storage.read(f"models/{digest}/{name}"))
            for name in names
            if name not in ("item.json", *REPORT_FILES)
        ),
    ]


class _FrozenFeatures(Sequence[Feature]):
    """Items of a frozen file, read again at each walk: a country's are never all in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._length = pq.ParquetFile(path).metadata.num_rows

    def __len__(self) -> int:
        return int(self._length)

    def __iter__(self) -> Iterator[Feature]:
        for batch in pq.ParquetFile(self._path).iter_batches(_ROWS, columns=[EXACT]):
            for text in batch.column(0).to_pylist():
                yield Feature(read_json(text.encode()))

    @overload
    def __getitem__(self, index: int) -> Feature: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Feature]: ...
    def __getitem__(self, index: int | slice) -> Feature | Sequence[Feature]:
        return list(self)[index]


def _write_items(
    finished: FinishedRun, name: str, target: Target, addresses: dict[str, str] | None
) -> WrittenFile | None:
    """The frozen items as stac-geoparquet, without paths of this machine."""
    frozen = f"items/{name}.parquet"
    if not finished.folder.storage.exists(frozen):
        return None
    items = _FrozenFeatures(finished.folder.storage.local(frozen))
    if addresses is not None:
        for item in items:
            links = item.json.get("links") or []
            own = [link["href"] for link in links if link.get("rel") == "self"]
            if own and str(own[0]).startswith(("http://", "https://")):
                addresses[item.id] = publishable(own[0])
    file = io.BytesIO()

    def to_json(item: Any) -> dict[str, Any]:
        document: dict[str, Any] = publishable(without_secrets(item))
        return document

    class _Plain(_FrozenFeatures):
        def __iter__(self) -> Iterator[Feature]:
            for item in super().__iter__():
                yield Feature(to_json(item))

    plain = _Plain(finished.folder.storage.local(frozen))
    geoparquet.write(file, plain, lambda item: geoparquet.with_text(item.to_dict()))
    return target.put(f"{FOLDER}/{name}.parquet", file.getvalue())


def _scenes(finished: FinishedRun) -> Scenes:
    """Ids of the input items of a tile, asked of the ledger: those of a country are many."""
    ledger = Ledger(finished.folder.storage)

    def of_tile(span: str, ix: int, iy: int) -> tuple[str, ...]:
        entries = [ledger.read(TileKey(step, span, ix, iy)) for step in finished.steps]
        names = {name for entry in entries if entry is not None for name in entry.inputs}
        return tuple(sorted(names))

    return of_tile


def _link(file: WrittenFile, media: str, title: str) -> dict[str, Any]:
    return {"rel": "derived_from", "href": f"./{file.name}", "type": media, "title": title}


@dataclass(frozen=True)
class Sources:
    """Collections that a product was made from, and what is to be said of them."""

    collections: tuple[str, ...]
    attribution: str


_ATTRIBUTIONS = {
    "sentinel-1": "Contains modified Copernicus Sentinel data {years}.",
    "sentinel-2": "Contains modified Copernicus Sentinel data {years}.",
    "sentinel": "Contains modified Copernicus Sentinel data {years}.",
    "landsat": "Landsat data courtesy of the U.S. Geological Survey.",
    "hls": "Harmonized Landsat Sentinel-2 data courtesy of NASA.",
}


def sources_of(finished: FinishedRun) -> Sources:
    """Collections of the recipe's inputs, with the attribution that their makers ask for."""
    inputs: Mapping[str, Any] = finished.recipe.get("inputs") or {}
    named = [str(made_from.get("collection") or made_from.get("collections") or name)
             for name, made_from in inputs.items()
             if isinstance(made_from, Mapping) and finished.state["items"].get(name)]  # fmt: skip
    first, last = finished.years
    years = f"{first}" if first == last else f"{first}-{last}"
    said = {
        text.format(years=years)
        for name in named
        for start, text in _ATTRIBUTIONS.items()
        if name.lower().startswith(start)
    }
    return Sources(tuple(dict.fromkeys(named)), " ".join(sorted(said)))
