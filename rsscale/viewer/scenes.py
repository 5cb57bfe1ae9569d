"""The scenes that a tile was made from, with their days: from the ledger and the frozen items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np

from rsscale.errors import ItemError
from rsscale.geo.grid import Grid
from rsscale.layers import TileKey
from rsscale.store.ledger import Entry, Ledger
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import run_grid

TILE = re.compile(r"x(-?\d{1,9})_y(-?\d{1,9})")
"""The name of a tile of level 0."""
_EVER = (date(1900, 1, 1), date(2999, 12, 31))


class TileScenes:
    """Scenes by tile; frozen items are opened when they are first asked for.

    Parameters
    ----------
    folder : RunFolder
    state : mapping
        Content of ``run.json``.
    """

    def __init__(self, folder: RunFolder, state: Mapping[str, Any]) -> None:
        self._folder, self._grid = folder, run_grid(state)
        self._inputs = list(state.get("items", ()))
        self._opened: dict[str, Any] = {}

    @property
    def grid(self) -> Grid:
        """Of level 0."""
        return self._grid

    def of_tile(self, step: str, span: str, tile: str) -> dict[str, Any] | None:
        """The scenes of one tile; None where there is no such tile, or it is not done.

        Returns
        -------
        dict
            ``tile``, and ``scenes``: ``id`` and ``day`` (null where the items are not there any
            more), in order of time. A step that reads layers only has none.
        """
        match = TILE.fullmatch(tile)
        if match is None:
            return None
        key = TileKey(step, span, int(match[1]), int(match[2]))
        entry = Ledger(self._folder.storage).read(key)
        return None if entry is None else self.of_entry(entry)

    def of_entry(self, entry: Entry) -> dict[str, Any]:
        """The same of an entry of the ledger that is at hand."""
        wanted = set(entry.inputs)
        days = dict(self._days(entry.key, wanted)) if wanted else {}
        known = sorted(days.items(), key=lambda pair: (pair[1], pair[0]))
        scenes: list[dict[str, Any]] = [{"id": name, "day": day} for name, day in known]
        if not self._opened:  # items are lost: names are better than nothing
            scenes = [{"id": name, "day": None} for name in entry.inputs]
        return {"tile": entry.key.tile, "span": entry.key.span, "scenes": scenes}

    def _days(self, key: TileKey, wanted: set[str]) -> Iterator[tuple[str, str]]:
        box = self._grid.geobox_of(self._grid.tile_at(key.ix, key.iy).box)
        for name in self._inputs:
            items = self._items(name)
            if items is None:
                continue
            for record in items.touching(box, *_EVER):
                if record.id in wanted:
                    yield record.id, str(np.datetime64(record.day, "D"))

    def _items(self, name: str) -> Any:
        """The frozen items of an input; None where they can't be read."""
        from rsscale.items.item_store import INDEX, RECORDS, FrozenItems

        if name not in self._opened:
            storage = self._folder.storage
            try:
                files = (storage.local(f"items/{name}.{end}") for end in (INDEX, RECORDS))
                self._opened[name] = FrozenItems(*files)
            except (ItemError, OSError):
                return None
        return self._opened[name]
