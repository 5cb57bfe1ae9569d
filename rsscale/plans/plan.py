"""A planned run as stored in its folder, read by workers, ``resume`` and ``verify``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odc.geo.geom import Geometry

from rsscale.cluster.profile import NumericProfile
from rsscale.documents import read_json
from rsscale.errors import AreaError, ItemError, RecipeError, RunFolderError
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid, Tile
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.recipe import Recipe, read_recipe
from rsscale.recipe.yaml_text import parse_yaml
from rsscale.steps.attachments import Kept
from rsscale.steps.base import ALL, Gather, Pass, Step
from rsscale.steps.fingerprint import area_in, fingerprint, gather_fingerprint
from rsscale.steps.kinds import open_steps
from rsscale.steps.setup import RunSetup
from rsscale.store.ledger import LedgerReader
from rsscale.store.run_folder import RunFolder
from rsscale.store.table_store import TableStore

if TYPE_CHECKING:
    from rsscale.items.item_store import FrozenItems
    from rsscale.store.zarr_store import ZarrStore

# Endings of the files of frozen items, whose module is not imported for status.
_INDEX, _RECORDS = "index.npz", "records"
_REMEDY = "put it back from a copy, or run the recipe again into an empty folder"

CUT_SHORT = ("updating", "extending")
"""States of a folder whose planning was cut short."""


@dataclass(frozen=True)
class TileTask:
    """One unit of work as it travels to a worker.

    Attributes
    ----------
    key : TileKey
    fingerprint : str
        Hash of what decides what the tile stores.
    """

    key: TileKey
    fingerprint: str


@dataclass(frozen=True)
class Generation:
    """Coverage of a run when it was planned or extended; its tiles see no later items.

    Attributes
    ----------
    periods : tuple of str
    area : Geometry
        EPSG:4326.
    """

    periods: tuple[str, ...]
    area: Geometry


@dataclass(frozen=True)
class RunPlan:
    """A planned run.

    Attributes
    ----------
    folder : RunFolder
    setup : RunSetup
        Recipe, grid and area, and where everything lies.
    steps : tuple of Step
        In the order in which they are computed.
    hash : str
        Of all that decides what is stored.
    generations : tuple of Generation
        The first plan, and each extension.
    """

    folder: RunFolder
    setup: RunSetup
    steps: tuple[Step, ...]
    hash: str
    generations: tuple[Generation, ...]

    @classmethod
    def read(cls, folder: RunFolder, *, cut_short: bool = False) -> RunPlan:
        """Read a planned run from its folder.

        Parameters
        ----------
        folder : RunFolder
        cut_short : bool
            Also what an update or an extension began to replace.

        Raises
        ------
        RunFolderError
            When there is no run, its format is another, or its planning was cut short.
        """
        state = folder.read_state()
        if state["state"] in CUT_SHORT and not cut_short:
            flag = " with --update" if state["state"] == "updating" else ""
            raise RunFolderError(
                f"{state['state']} {folder.url} was cut short while it was planned; run the "
                f"recipe again{flag}"
            )
        recipe, area = read_frozen(folder, state)
        attachments = {
            step: {name: Kept(digest, room, folder) for name, (room, digest) in kept.items()}
            for step, kept in state["attachments"].items()
        }
        grid, generations = recipe.grid.build(), read_generations(folder, state)
        setup = RunSetup(
            recipe=recipe,
            grid=grid,
            area=area,
            run=folder,
            attachments=attachments,
            lookups=_FrozenLookups(folder).get,
            ledger=LedgerReader(folder.ledger),
            generation=GenerationOfTile(generations, grid),
            device=state["profile"]["device"],
        )
        steps = tuple(open_steps(setup))
        unknown = [step.step for step in steps if step.step not in state["steps"]]
        if unknown:
            raise RunFolderError(
                f"{folder.url} is damaged: run.json lacks the step {unknown[0]!r} of its recipe; "
                "run the recipe again into an empty folder"
            )
        return cls(
            folder=folder,
            setup=setup,
            steps=steps,
            hash=state["plan"],
            generations=generations,
        )

    @property
    def recipe(self) -> Recipe:
        """The frozen recipe."""
        return self.setup.recipe

    @property
    def grid(self) -> Grid:
        """The grid of level 0."""
        return self.setup.grid

    @property
    def area(self) -> Geometry:
        """EPSG:4326."""
        return self.setup.area

    @property
    def extent(self) -> PixelBox:
        """All tiles of level 0."""
        return self.setup.extent()

    @cached_property
    def profile(self) -> NumericProfile:
        """The numeric profile that the run was planned with."""
        return NumericProfile(**self.folder.read_state()["profile"])

    def rounds(self) -> Iterator[tuple[Step, int]]:
        """Each step at each of its levels, in order: one begins when the one before has ended."""
        for step in self.steps:
            for level in step.levels() if isinstance(step, Pass) else (0,):
                yield step, level

    def keys(self, step: Step, level: int = 0) -> Iterator[TileKey]:
        """Every tile of a step at a level, lazily; the one task of a gather."""
        if isinstance(step, Gather):
            yield TileKey(step.step, ALL, 0, 0)
            return
        grid = self.grid.at_level(level)
        for span in step.spans():
            for tile in grid.tiles(self.area):
                yield TileKey(step.step, span, tile.ix, tile.iy, level)

    def count(self, step: Step) -> int:
        """Tiles of a step, of all spans and levels."""
        if isinstance(step, Gather):
            return 1
        return len(step.spans()) * sum(map(self.setup.tile_count, step.levels()))

    def step(self, name: str) -> Step:
        """A step by its name."""
        return self.setup.steps[name]

    def tile(self, key: TileKey) -> Tile:
        """Box and index of a key."""
        return self.grid.at_level(key.level).tile_at(key.ix, key.iy)

    def task(self, key: TileKey) -> TileTask:
        """A key with its fingerprint.

        Raises
        ------
        NotReadyError
            When it reads, or folds, a tile of an earlier step that is not done.
        """
        step = self.step(key.step)
        if isinstance(step, Gather):
            entries, count = self.folder.ledger.entries(step.of), self.count(self.step(step.of))
            return TileTask(key, gather_fingerprint(step, entries, count))
        return TileTask(key, fingerprint(step, key, self.grid, self.setup.shape))

    def layers_of(self, step: Step, level: int) -> ZarrStore | None:
        """Store of a step's layers, if it writes any."""
        if isinstance(step, Gather) or not step.layers:
            return None
        return self.setup.store(step, level)

    def rows_of(self, step: Step) -> TableStore | None:
        """Store of a step's rows, if it writes any."""
        if step.schema is None:
            return None
        place = step.place if isinstance(step, Gather) else None
        return TableStore(self.folder.storage, step.step, step.schema, place)

    def items_frozen(self) -> list[str]:
        """Names of the inputs whose items are frozen."""
        return list(self.folder.read_state()["items"])

    def stored(self, key: TileKey) -> dict[str, str]:
        """Digests of a tile's stored objects, computed from their present bytes."""
        step = self.step(key.step)
        layers, rows = self.layers_of(step, key.level), self.rows_of(step)
        files = layers.stored(key) if layers else {}
        return files | (rows.stored(key) if rows else {})

    def refuse_lost_files(self) -> None:
        """Refuse to go on where files that the run is made from are not there any more.

        Raises
        ------
        RunFolderError
        """
        state, storage = self.folder.read_state(), self.folder.storage
        files = [f"items/{name}.{end}" for name in state["items"] for end in (_INDEX, _RECORDS)]
        lost = [file for file in files if not storage.exists(file)]
        for kept in state["attachments"].values():
            folders = (f"{room}/{digest}" for room, digest in kept.values())
            lost += [folder for folder in folders if not any(storage.names(folder))]
        if lost:
            raise RunFolderError(
                f"{self.folder.url} is damaged: {lost[0]} is not there any more; {_REMEDY}"
            )

    def refuse_other_versions(self) -> None:
        """Refuse to resume steps that another version of an algorithm has begun.

        Raises
        ------
        RunFolderError
            Which names the step and both versions.
        """
        known = self.folder.read_state()["steps"]
        for step in self.steps:
            made = known[step.step]["version"]
            if made != step.version:
                raise RunFolderError(
                    f"step {step.step!r} of {self.folder.url} was begun by version {made} of "
                    f"{step.kind!r}, this code has version {step.version}: finish it with the code "
                    "that began it, or run the recipe again with --update"
                )


class _FrozenLookups:
    """The frozen items of each input, opened when they are first asked for."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._opened: dict[str, FrozenItems] = {}

    def get(self, name: str) -> FrozenItems:
        from rsscale.items.item_store import INDEX, RECORDS, FrozenItems

        if name not in self._opened:
            files = [f"items/{name}.{ending}" for ending in (INDEX, RECORDS)]
            try:
                index, records = (self._folder.storage.local(file) for file in files)
                if not records.is_file():
                    raise FileNotFoundError(f"{records} is not there any more")
                self._opened[name] = FrozenItems(index, records)
            except (ItemError, OSError) as error:
                reason = "not there any more" if isinstance(error, FileNotFoundError) else error
                raise RunFolderError(
                    f"{self._folder.url} is damaged: its items {files[0]} or {files[1]} can't be "
                    f"read ({reason}); {_REMEDY}"
                ) from None
        return self._opened[name]


def read_frozen(folder: RunFolder, state: Mapping[str, Any]) -> tuple[Recipe, Geometry]:
    """The recipe and the area of a run, as they were frozen.

    Raises
    ------
    RunFolderError
        When they are damaged.
    """
    try:
        content = parse_yaml(_unchanged(folder, state["recipe"]).decode(), state["recipe"])
        area = read_json(_unchanged(folder, state["area"]))["features"][0]
    except (OSError, ValueError, LookupError, TypeError, RecipeError) as error:
        raise RunFolderError(
            f"{folder.url} is damaged: its recipe or area can't be read ({error}); run the "
            "recipe again into an empty folder"
        ) from None
    try:
        return read_recipe(content), read_area(area)
    except (RecipeError, AreaError, TypeError) as error:
        raise RunFolderError(f"{folder.url}/{state['recipe']} is damaged: {error}") from None


def _unchanged(folder: RunFolder, name: str) -> bytes:
    """Content of a frozen file, whose name ends in the hash of what was written.

    Raises
    ------
    ValueError
        When it is another now.
    """
    content = folder.storage.read(name)
    if hashlib.sha256(content).hexdigest()[:16] not in name:
        raise ValueError(f"{name} is not what was written")
    return content


def read_generations(folder: RunFolder, state: Mapping[str, Any]) -> tuple[Generation, ...]:
    """Coverage of a run at first, and after each extension.

    Raises
    ------
    RunFolderError
        When an area is damaged.
    """
    generations = []
    for generation in state["generations"]:
        name = generation["area"]
        try:
            area = read_area(read_json(folder.storage.read(name))["features"][0])
        except (OSError, ValueError, LookupError, TypeError, AreaError) as error:
            reason = "not there any more" if isinstance(error, FileNotFoundError) else error
            raise RunFolderError(
                f"{folder.url} is damaged: its area {name} can't be read ({reason}); {_REMEDY}"
            ) from None
        generations.append(Generation(tuple(generation["periods"]), area))
    return tuple(generations)


class GenerationOfTile:
    """Which items a tile sees: those of the first plan that covered it as the last one does.

    Parameters
    ----------
    generations : tuple of Generation
    grid : Grid
    """

    def __init__(self, generations: tuple[Generation, ...], grid: Grid) -> None:
        self._generations, self._grid = generations, grid
        self._shapes = [
            grid.project(generation.area).geom for generation in generations[1:] and generations
        ]

    def __call__(self, key: TileKey) -> int | None:
        """The number of the generation; None where there was only one."""
        if len(self._generations) == 1:
            return None
        box = self._grid.tile_at(key.ix, key.iy).box
        parts = [area_in(shape, self._grid, box) for shape in self._shapes]
        for number, generation in enumerate(self._generations):
            if key.span in generation.periods and parts[number] == parts[-1]:
                return number
        return len(self._generations) - 1
