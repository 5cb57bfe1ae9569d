"""The files of the viewer by their names: the app, and what it asks of a run.

The local server and :func:`~rsscale.viewer.static.write_viewer` give the same files under the
same names, so that one page works from both.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import weakref
from collections.abc import Collection, Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from rsscale.documents import read_json
from rsscale.errors import RsscaleError
from rsscale.object_files.drawn_objects import write_drawn
from rsscale.object_files.step_objects import open_objects
from rsscale.store.ledger import Ledger
from rsscale.store.run_folder import RunFolder
from rsscale.store.storage import Folder, Storage
from rsscale.viewer.document import viewer_document
from rsscale.viewer.imagery import STORE, imagery_folder
from rsscale.viewer.layer_entries import layered_steps
from rsscale.viewer.regions import regions_geojson
from rsscale.viewer.sample_points import sample_geojson
from rsscale.viewer.scenes import TileScenes

_log = logging.getLogger(__name__)

APP = ("index.html", "viewer.js", "viewer.css", "licences.txt")
"""Files of the app, built by ``.ci/viewer`` and part of the package."""


def app_file(name: str) -> bytes:
    """Content of a file of the app."""
    return resources.files("rsscale.viewer").joinpath("static", name).read_bytes()


class RunPages:
    """What the page asks of a run, made when it is asked for.

    ``viewer.json`` is what the run holds at that moment: a page that is loaded again shows what was
    computed or estimated meanwhile.

    Parameters
    ----------
    folder : RunFolder
    place : Storage, optional
        Where the stores are published; the run folder when omitted.
    shown : collection of str, optional
        Steps with layers or objects, or that count these, that the page may show; all when omitted.
    """

    def __init__(
        self,
        folder: RunFolder,
        place: Storage | None = None,
        shown: Collection[str] | None = None,
    ) -> None:
        self.folder = folder
        self._place, self._shown = place, shown
        self.document = viewer_document(folder, place, shown)
        self._updated = folder.read_state().get("updated")
        self._lock, self._making = threading.Lock(), threading.Lock()

    @cached_property
    def stores(self) -> dict[str, Storage]:
        """Stores that the page reads, by their names in the product's folder."""
        stores = {
            layer["store"]: self.folder.storage.child(layer["store"])
            for layer in self.document["layers"]
        }
        beside = imagery_folder(self.folder)
        if STORE in stores and not stores[STORE].exists("zarr.json"):
            stores[STORE] = beside.store("imagery")
        return stores

    def page(self, name: str) -> bytes | None:
        """Content of a file by its name within ``viewer/``; None where there is no such file."""
        if name in APP:
            return app_file(name)
        if name == "viewer.json":
            return as_json(self._refreshed())
        parts = name.removesuffix(".json").split("/")
        match parts:
            case ["sample"] if self.document["sample"]:
                return as_json(sample_geojson(self.folder, self._scenes.grid))
            case ["regions", step] if step in self._regions:
                return self._of_regions(step)
            case ["tiles", step, span, tile] if span in self._spans.get(step, ()):
                with self._lock:  # one file is read at a time
                    scenes = self._scenes.of_tile(step, span, tile)
                return None if scenes is None else as_json(scenes)
        return None

    def drawn(self, step: str, name: str) -> Storage | None:
        """Where the files lie that objects of a step are drawn from; made when first asked for.

        Parameters
        ----------
        step : str
        name : str
            ``<span>.json`` or ``<span>.fgb``.
        """
        span, _, ending = name.rpartition(".")
        if span not in self._objects.get(step, ()) or ending not in ("json", "fgb"):
            return None
        folder = self._drawn / step
        with self._making:
            if not (folder / f"{span}.json").exists():  # written last
                folder.mkdir(exist_ok=True)
                write_drawn(open_objects(self.folder, step), span, folder)
        return Folder(folder)

    def names(self) -> Iterator[str]:
        """All files by their names, those of tiles as the ledger has them."""
        yield from APP
        yield "viewer.json"
        if self.document["sample"]:
            yield "sample.json"
        for step in sorted(self._regions):
            yield f"regions/{step}.json"

    def object_files(self) -> Iterator[str]:
        """Names ``<step>/<span>`` of the files that objects are drawn from, without ending."""
        for step, spans in self._objects.items():
            for span in spans:
                yield f"{step}/{span}"

    def tiles(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the files of tiles, one entry of the ledger after another."""
        for step in self._spans:
            for entry in Ledger(self.folder.storage).entries(step):
                if entry.key.level == 0 and entry.inputs:
                    name = f"tiles/{step}/{entry.key.span}/{entry.key.tile}.json"
                    yield name, as_json(self._scenes.of_entry(entry))

    def _refreshed(self) -> dict[str, Any]:
        """Describe the run anew, and forget what was made of it as it was.

        Where it can't be described any more, as its stores are gone, it stays as it was: the page
        says which of them it can't read.
        """
        with self._making:
            try:
                document = viewer_document(self.folder, self._place, self._shown)
            except RsscaleError as error:
                _log.warning("%s", error)
                return self.document
            updated = self.folder.read_state().get("updated")
            made = ["stores", "_spans", "_objects", "_regions", "_made", "_scenes"]
            if updated != self._updated:
                made.append("_drawn")  # removed with this object: another request may read it
                self._updated = updated
            for name in made:
                self.__dict__.pop(name, None)
            self.document = document
        return document

    @cached_property
    def _scenes(self) -> TileScenes:
        return TileScenes(self.folder, self.folder.read_state())

    @cached_property
    def _spans(self) -> dict[str, tuple[str, ...]]:
        shown = {layer["step"] for layer in self.document["layers"]}
        steps = layered_steps(self.folder.read_state())
        return {step: spans for step, spans, _ in steps if step in shown}

    @cached_property
    def _objects(self) -> dict[str, list[str]]:
        return {entry["step"]: entry["spans"] for entry in self.document["objects"]}

    @cached_property
    def _drawn(self) -> Path:
        """A folder that is removed with this object, or where the process ends before."""
        made = tempfile.mkdtemp(prefix="rsscale-view-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)  # at exit too
        return Path(made)

    @cached_property
    def _regions(self) -> set[str]:
        return {regions["step"] for regions in self.document["regions"]}

    def _of_regions(self, step: str) -> bytes:
        with self._lock:
            if step not in self._made:
                self._made[step] = as_json(regions_geojson(self.folder, step))
            return self._made[step]

    @cached_property
    def _made(self) -> dict[str, bytes]:
        return {}


class PublishedPages:
    """A folder that :func:`~rsscale.viewer.static.write_viewer` wrote into: files as they are.

    Parameters
    ----------
    folder : RunFolder
        With ``viewer/viewer.json``.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.document: dict[str, Any] = read_json(folder.storage.read("viewer/viewer.json"))

    @cached_property
    def stores(self) -> dict[str, Storage]:
        """Stores that the page reads, by their names in the product's folder."""
        names = {str(layer["store"]) for layer in self.document["layers"]}
        return {name: self.folder.storage.child(name) for name in names}

    def page(self, name: str) -> bytes | None:
        """Content of a file by its name within ``viewer/``; None where there is no such file."""
        try:
            return self.folder.storage.read(f"viewer/{name}")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def drawn(self, step: str, name: str) -> Storage | None:
        """Where the files lie that objects of a step are drawn from."""
        del name
        return self.folder.storage.child(f"viewer/objects/{step}")


def as_json(content: Any) -> bytes:
    """JSON without blanks."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
