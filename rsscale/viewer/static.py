"""Write the viewer's page beside a published product, for any host of static files."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rsscale.documents import read_json
from rsscale.object_files.drawn_objects import FORMAT
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import step_version
from rsscale.store.storage import Storage
from rsscale.viewer.pages import RunPages, as_json


def write_viewer(
    run_folder: RunFolder, target: Storage, shown: Collection[str] | None = None
) -> list[str]:
    """Write the page, and what it asks of the run, into ``viewer/`` of a published product.

    The page reads the Zarr stores by relative addresses, so the folder can be moved, and works from
    any host that honours ``Range``. Pixels are not touched; one small file a tile names its scenes.
    What is there already with the same content stays.

    Parameters
    ----------
    run_folder : RunFolder
    target : Storage
        The published product. It holds its stores under the names of the run folder:
        ``product.zarr`` for the map, ``<step>.zarr`` for another step. Layers that it does not
        hold are left out.
    shown : collection of str, optional
        Steps with layers or objects, or that count these, that are published; all when omitted.

    Returns
    -------
    list of str
        Names of the files, relative to the target.

    Raises
    ------
    RunFolderError
        When the target holds no store of the run.
    """
    pages = RunPages(run_folder, target, shown)
    written = []

    def put(name: str, content: bytes) -> None:
        name = f"viewer/{name}"
        try:
            is_there = target.read(name) == content
        except FileNotFoundError:
            is_there = False
        if not is_there:
            target.write(name, content)
        written.append(name)

    written += _write_objects(pages, target)
    for name, content in pages.tiles():
        put(name, content)
    for name in pages.names():
        page = pages.page(name)
        if page is not None and name != "viewer.json":
            put(name, page)
    put("viewer.json", as_json(pages.document))  # the last: a page is there whole or not at all
    return written


def _write_objects(pages: RunPages, target: Storage) -> Iterator[str]:
    """Write the files that objects are drawn from; returns their names."""
    for name in pages.object_files():
        step, span = name.split("/")
        is_there = _is_drawn(pages, target, name)
        for file in (f"{span}.fgb", f"{span}.json"):  # the JSON says which version it is
            place = None if is_there else pages.drawn(step, file)
            if place is not None:
                target.put_file(f"viewer/objects/{step}/{file}", place.local(file))
            yield f"viewer/objects/{step}/{file}"


def _is_drawn(pages: RunPages, target: Storage, name: str) -> bool:
    """Whether the files that objects are drawn from are there, of what the step has stored."""
    try:
        there = read_json(target.read(f"viewer/objects/{name}.json"))
        version = step_version(pages.folder, name.partition("/")[0])
        is_same = (there["format"], there["version"]) == (FORMAT, version)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    return is_same and target.exists(f"viewer/objects/{name}.fgb")
