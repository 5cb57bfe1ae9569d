"""A planned sample: its strata, how many units each has, and the errors to expect."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.decorators.first_argument import made_by
from rsscale.sample_passes.sample_options import ALLOCATIONS, SampleOptions
from rsscale.sample_passes.sample_size import Expectation, allocate
from rsscale.sample_passes.strata import Strata
from rsscale.text.html_tables import block, heading, small_lines, table
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

# Areas whose errors are printed.
_MOST_AREAS = 12

_Ints = npt.NDArray[np.int64]


@made_by("rs.design_sample(run, path)")
@dataclass(frozen=True)
class SampleDesign:
    """What :func:`rsscale.design_sample` planned or drew; print it.

    Attributes
    ----------
    options : SampleOptions
    strata : Strata
    expected : Expectation
    sizes : int array (strata,)
        Units of each; of a design without strata all units as one.
    path : Path or None
        The file; None where nothing was drawn.
    units : GeoDataFrame or None
        The units as they are in the file, with the pixel's ``row`` and ``col``.
    chips : int
        Pictures that were written.
    notes : tuple of str
        What else to know before it is drawn.
    """

    options: SampleOptions
    strata: Strata
    expected: Expectation
    sizes: _Ints
    path: Path | None = None
    units: gpd.GeoDataFrame | None = None
    chips: int = 0
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Units in all."""
        return len(self.units) if self.units is not None else int(self.sizes.sum())

    def table(self) -> pd.DataFrame:
        """A row for each stratum: area, share, expected share that is right, units.

        Of a stratified design also the units that each allocation would give.
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "stratum": [stratum.name for stratum in self.strata.all],
            "pixels": self.strata.pixels,
            "hectares": [stratum.hectares for stratum in self.strata.all],
            "share": self.expected.weights,
            "expected": self.expected.right,
            "units": self.sizes,
        }
        return pd.DataFrame(columns | self._allocations())

    def errors(self) -> pd.DataFrame:
        """Expected standard errors: of the overall accuracy (a share), and of areas (hectares).

        One column for the units as they are, and of a stratified design one for each allocation.
        """
        import pandas as pd

        by_name = {"units": self.sizes} | self._allocations()
        rows = {
            "overall accuracy": {
                name: self.expected.overall_error(sizes) for name, sizes in by_name.items()
            }
        }
        for number, class_name in enumerate(self.expected.classes):
            rows[f"area of {class_name}"] = {
                name: self.expected.area_error(number, sizes) for name, sizes in by_name.items()
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def _allocations(self) -> dict[str, _Ints]:
        if self.options.design != "stratified":
            return {}
        # What sizes, or a target, have decided is not asked for again.
        options = replace_options(self.options, size=None, sizes=None)
        total = int(self.sizes.sum())
        return {how: allocate(self.expected, total, how, options) for how in ALLOCATIONS}

    def _repr_html_(self) -> str:
        (head, *rows), (error_head, *errors) = self._rows(), self._error_rows()
        place = [] if self.path is None else [str(self.path)]
        return block(
            heading(f"{self.options.design} sample of {counted(self.size, 'unit')}"),
            table(rows, head),
            heading("expected standard errors"),
            table(errors, error_head),
            small_lines([*self._not_sampled(), *self.notes, *place]),
        )

    def __str__(self) -> str:
        texts = [
            f"{self.options.design} sample of {counted(self.size, 'unit')}",
            *_aligned(self._rows()),
        ]
        texts += ["", "expected standard errors", *_aligned(self._error_rows())]
        texts += [*self._not_sampled(), *self.notes]
        if self.path is not None:
            texts += ["", str(self.path)]
        return "\n".join(texts)

    def _not_sampled(self) -> Iterator[str]:
        for (pixels, hectares), reason in (
            (self.strata.unmapped, "without a class"),
            (self.strata.left_out, "left out, in no stratum"),
        ):
            if pixels:
                yield f"not sampled: {pixels:,} pixels ({hectares:,.0f} ha) {reason}"

    def _rows(self) -> list[list[str]]:
        table = self.table()
        rows = [["stratum", "hectares", "share", "right", *table.columns[5:]]]
        for row in table.itertuples(index=False):
            cells = [row[0], f"{row[2]:,.0f}", f"{row[3]:.2%}", f"{row[4]:.0%}"]
            rows.append([*cells, *(f"{int(n):,}" for n in row[5:])])
        totals = [f"{int(table[name].sum()):,}" for name in table.columns[5:]]
        rows.append(["all", f"{table['hectares'].sum():,.0f}", "100%", "", *totals])
        return rows

    def _error_rows(self) -> list[list[str]]:
        errors = self.errors()
        more = len(errors) - 1 - _MOST_AREAS
        rows = [["", *errors.columns]]
        for name, values in errors.head(1 + _MOST_AREAS).iterrows():
            is_share = name == "overall accuracy"
            rows.append([str(name), *(_error(value, is_share) for value in values)])
        if more > 0:
            rows.append([f"{more} more areas: design.errors()", *[""] * len(errors.columns)])
        return rows


def replace_options(options: SampleOptions, **changes: Any) -> SampleOptions:
    """Options with others; not checked again."""
    return options.model_copy(update=changes)


def with_units(design: SampleDesign, path: Path, units: gpd.GeoDataFrame) -> SampleDesign:
    """The design with what was drawn."""
    values = units["stratum"].to_numpy()
    sizes = np.array([int((values == stratum.value).sum()) for stratum in design.strata.all])
    if not design.options.stratified_by:
        sizes = np.array([len(units)])
    return replace(design, path=path, units=units, sizes=sizes)


def _error(value: float, is_share: bool) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if is_share else f"{value:,.0f} ha"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
