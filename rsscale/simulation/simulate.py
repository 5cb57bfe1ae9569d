"""Run ``rsscale simulate``: write a synthetic Sentinel-2-like archive with known truth."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass
from rsscale.progress.bars import progress
from rsscale.read.file_pool import bound_cache
from rsscale.simulation.render import GroundCache, Rendered, render
from rsscale.simulation.scenes import Scene, schedule
from rsscale.simulation.site_truth import write_sites
from rsscale.simulation.spectra import BANDS
from rsscale.simulation.stac import COLLECTION, make_item, write_catalog
from rsscale.simulation.tiles import RESOLUTION, TileGrid, make_tiles
from rsscale.simulation.truth import TruthWriter, class_table, make_areas, write_area, write_labels
from rsscale.simulation.world import CLASSES, World

DEFAULT_SIZE = 1100
SMALLEST_SIZE = 128
FEWEST_DATES = 4
_BUILDING = ".simulating"
_MOST_WORKERS = 4

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class SimulatedArchive:
    """Paths of the parts of a simulated archive.

    Attributes
    ----------
    root : Path
        The archive's folder; all other paths are in it.
    catalog : Path
        ``catalog.json``, a static catalogue with relative hrefs.
    items : Path
        ``items.json``, all items with absolute hrefs, for a STAC API server.
    collection : str
        Id of the collection.
    bands : tuple of str
        Asset keys of the reflectances; beside them there is ``"scl"``.
    truth : mapping of int to Path
        Land cover of each year: class values, 255 outside the tiles, EPSG:32631 at 10 m.
    change : mapping of (int, int) to Path
        Between consecutive years: 1 changed, 0 not, 255 outside.
    labels : Path
        ``labels.gpkg``: polygons with ``landcover`` and ``year``, in the training area only.
    area, training_area : Path
        GeoJSON, EPSG:4326: what to map, and the part of it that has labels.
    sites : Path
        Boxes of all solar parks and greenhouses of the area: ``kind``, ``year``, ``site``.
    site_labels : Path
        Those of the training area.
    classes : tuple of LandClass
        Also in ``classes.json``.
    """

    root: Path
    catalog: Path
    items: Path
    collection: str
    bands: tuple[str, ...]
    truth: Mapping[int, Path]
    change: Mapping[tuple[int, int], Path]
    labels: Path
    area: Path
    training_area: Path
    sites: Path
    site_labels: Path
    classes: tuple[LandClass, ...] = field(default=CLASSES, repr=False)


def simulate(
    out: str | Path,
    *,
    size: int = DEFAULT_SIZE,
    years: Sequence[int] = (2023, 2024),
    dates: int = 15,
    seed: int = 0,
    workers: int | None = None,
) -> SimulatedArchive:
    """Write a synthetic archive: two tiles of two UTM zones that overlap, and their truth.

    The same arguments give the same bytes, whatever the number of workers; only the hrefs
    in ``items.json`` are absolute. Everything is evaluated block by block, so memory does
    not grow with the size.

    Parameters
    ----------
    out : path
        A folder that is empty or not there yet.
    size : int
        Width and height of a tile, pixels of 10 m.
    years : sequence of int
        Increasing; the landscape changes from each to the next.
    dates : int
        Acquisitions a year and tile, at least 4.
    seed : int
        Another seed, another landscape and other weather.
    workers : int, optional
        Threads; the number of cores, at most 4, when omitted.

    Returns
    -------
    SimulatedArchive

    Raises
    ------
    RecipeError
        When an argument is out of range, or the folder cannot be used. When anything fails,
        nothing is left in the folder.
    """
    out = Path(out).absolute()
    years = _check(size, years, dates, seed)
    building = _claim(out)
    try:
        _build(building, out, size, years, dates, seed, workers)
        for path in sorted(building.iterdir()):
            path.rename(out / path.name)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _describe(out, years)


def _check(size: int, years: Sequence[int], dates: int, seed: int) -> tuple[int, ...]:
    if size < SMALLEST_SIZE:
        raise RecipeError(f"size is {size} pixels; expected at least {SMALLEST_SIZE}")
    if not years or list(years) != sorted(set(years)):
        raise RecipeError(f"years are {list(years)}; expected increasing years such as 2023, 2024")
    if not all(2016 <= year <= 2100 for year in years):
        raise RecipeError(f"years are {list(years)}; expected years from 2016 to 2100")
    if not FEWEST_DATES <= dates <= 60:
        raise RecipeError(f"dates is {dates}; expected {FEWEST_DATES} to 60 a year")
    if seed < 0:
        raise RecipeError(f"seed is {seed}; expected 0 or more")
    return tuple(years)


def _claim(out: Path) -> Path:
    """An empty folder inside ``out`` to build the archive in."""
    building = out / _BUILDING
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in out.iterdir() if path.name != _BUILDING]
        if others:
            raise RecipeError(f"{out} is not empty (it has {min(others)!r}); name another folder")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
    except OSError as error:
        raise RecipeError(f"cannot write to {out}: {error.strerror or error}") from error
    return building


def _build(
    root: Path, final_root: Path, size: int, years: tuple[int, ...], dates: int, seed: int,
    workers: int | None,
) -> None:  # fmt: skip
    bound_cache()
    world, tiles = World(seed, years), make_tiles(size)
    scenes = schedule(tiles, years, dates, seed)
    pool = _Pool(workers)
    writer = _write_truth(root, world, tiles, pool)
    area, training = make_areas(tiles)
    write_area(root / "area.geojson", area, "area to map")
    write_area(root / "training_area.geojson", training, "part with labels")
    write_labels(root / "labels.gpkg", world, writer.grid, training)
    sites, site_labels = root / "truth" / "sites.gpkg", root / "site_labels.gpkg"
    write_sites(sites, site_labels, world, area, training)
    (root / "classes.json").write_text(json.dumps(class_table(), indent=1) + "\n")
    rendered = _write_scenes(root, world, tiles, scenes, size, pool)
    items = [make_item(scene, rendered[scene.id]) for scene in scenes]
    write_catalog(root, final_root, items)


def _write_truth(root: Path, world: World, tiles: tuple[TileGrid, ...], pool: _Pool) -> TruthWriter:
    writer = TruthWriter(root / "truth", world, tiles)
    blocks = list(writer.grid.blocks())
    with writer, progress("truth", len(blocks), "blocks") as bar:
        # Evaluated in parallel, written here: a dataset belongs to one thread.
        for window, layers in pool.ordered(writer.evaluate, blocks):
            writer.write(window, layers)
            bar.advance()
    return writer


def _write_scenes(
    root: Path, world: World, tiles: tuple[TileGrid, ...], scenes: Sequence[Scene], size: int,
    pool: _Pool,
) -> dict[str, Rendered]:  # fmt: skip
    scratch = root / "ground"
    scratch.mkdir()
    caches = {tile.name: GroundCache(scratch, world, tile) for tile in tiles}
    blocks = [(caches[tile.name], window) for tile in tiles for window in tile.blocks()]
    with progress("ground", len(blocks), "blocks") as bar:
        for _ in pool.ordered(lambda job: job[0].prepare(job[1]), blocks):
            bar.advance()
    extent = 0.85 * size * RESOLUTION

    def render_scene(scene: Scene) -> Rendered:
        return render(scene, caches[scene.tile.name], extent, root / COLLECTION / scene.id)

    rendered: dict[str, Rendered] = {}
    with progress("scenes", len(scenes), "scenes") as bar:
        for scene, result in pool.ordered(render_scene, scenes):
            rendered[scene.id] = result
            bar.advance()
    shutil.rmtree(scratch)
    return rendered


class _Pool:
    """A bounded number of threads; NumPy and GDAL release the interpreter while they work."""

    def __init__(self, workers: int | None) -> None:
        self._workers = workers or min(os.cpu_count() or 1, _MOST_WORKERS)

    def ordered(self, work: Callable[[T], R], jobs: Iterable[T]) -> Iterable[tuple[T, R]]:
        """Results as they are done, not more than a few ahead of the caller."""
        waiting = iter(jobs)
        with ThreadPoolExecutor(self._workers) as threads:
            running = {}
            try:
                while True:
                    for job in waiting:
                        running[threads.submit(work, job)] = job
                        if len(running) > self._workers:
                            break
                    if not running:
                        return
                    done = next(as_completed(running))
                    yield running.pop(done), done.result()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)


def _describe(out: Path, years: tuple[int, ...]) -> SimulatedArchive:
    pairs = itertools.pairwise(years)
    return SimulatedArchive(
        root=out,
        catalog=out / "catalog.json",
        items=out / "items.json",
        collection=COLLECTION,
        bands=BANDS,
        truth={year: out / "truth" / f"landcover_{year}.tif" for year in years},
        change={(a, b): out / "truth" / f"change_{a}_{b}.tif" for a, b in pairs},
        labels=out / "labels.gpkg",
        area=out / "area.geojson",
        training_area=out / "training_area.geojson",
        sites=out / "truth" / "sites.gpkg",
        site_labels=out / "site_labels.gpkg",
    )
