"""The sum of the rows that tiles give by zone: one row for each zone, span and class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsscale.layers import TileKey
from rsscale.steps.base import Gather

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Rows of tiles that are summed at once.
_ROWS = 1_000_000


@dataclass(kw_only=True)
class ZonesTotal(Gather):
    """Pixels and hectares of all tiles together, with the names of classes.

    A zone without a pixel in the area has one row for each span, of nodata and 0 hectares. Areas
    are added as whole units, so that the sums are the same to the bit however the work was cut.

    Attributes
    ----------
    zones : tuple of str
        All ids, in the order that rows are to have.
    times : tuple of str
        All spans, likewise.
    nodata : int
        The class of pixels without one.
    names : mapping of class to str
    units : int
        Of area, in a hectare.
    """

    kind: ClassVar[str] = "zones"
    version: ClassVar[str] = "1"

    step: str
    of: str
    schema: pa.Schema
    zones: tuple[str, ...]
    times: tuple[str, ...]
    nodata: int
    names: Mapping[int, str]
    units: int

    def parameters(self) -> Mapping[str, Any]:
        """Zones, spans and class names, which decide the rows of the sum."""
        names = {str(value): name for value, name in self.names.items()}
        return {"zones": self.zones, "times": self.times, "names": names}

    def fold(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pa.Table:
        """Sums in order of zones, of time and of classes, nodata last."""
        import pyarrow as pa

        total = self.named(self.total(parts))
        return pa.Table.from_pandas(total, schema=self.schema, preserve_index=False)

    def named(self, total: pd.DataFrame) -> pd.DataFrame:
        """The columns of the schema, of sums by class."""
        return total.assign(name=total["class"].map(self.names).astype(object))

    def total(self, parts: Iterable[tuple[TileKey, pa.Table]]) -> pd.DataFrame:
        """Rows ``zone``, ``span``, ``class``, ``pixels`` and ``hectares``, in order."""
        import pandas as pd

        waiting, rows = [self._nothing()], 0
        for _, table in parts:
            waiting.append(self._in_units(table.to_pandas()))
            rows += table.num_rows
            if rows > _ROWS:
                waiting, rows = [_summed(pd.concat(waiting))], 0
        total = _summed(pd.concat(waiting))
        is_empty = total.groupby(["zone", "span"])["pixels"].transform("sum") == 0
        total = self._sorted(total[(total["pixels"] > 0) | is_empty])
        return total.assign(hectares=total["units"] / self.units)

    def _in_units(self, rows: pd.DataFrame) -> pd.DataFrame:
        units = np.rint(rows.pop("hectares") * self.units).astype(np.int64)
        return rows.assign(units=units)

    def _nothing(self) -> pd.DataFrame:
        """A row without pixels for each zone and span."""
        import pandas as pd

        pairs = pd.MultiIndex.from_product([self.zones, self.times], names=["zone", "span"])
        nothing: dict[str, Any] = {"class": np.int32(self.nodata), "pixels": 0.0, "units": 0}
        return pairs.to_frame(index=False).assign(**nothing)

    def _sorted(self, rows: pd.DataFrame) -> pd.DataFrame:
        zones, times = ({v: n for n, v in enumerate(names)} for names in (self.zones, self.times))
        places = (rows["zone"].map(zones), rows["span"].map(times))
        is_nodata = rows["class"] == self.nodata
        return rows.iloc[np.lexsort((rows["class"], is_nodata, *places[::-1]))]


def _summed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(["zone", "span", "class"], as_index=False, sort=False).sum()
