"""Cells of a draw: what is drawn from by itself, how much of it, and with what probability.

A cell is a stratum, or a stratum inside a primary unit of two stages; the smallest random numbers
of its pixels are drawn. Of a systematic sample it is every pixel, and its starts are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.sample_passes.random_numbers import LARGEST, place_numbers, uniform
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.strata import Strata

_Ints = npt.NDArray[np.int64]
_Rows = Mapping[str, npt.NDArray[Any]]

# Beyond the share that is drawn: 8 standard deviations of how many numbers lie below it, and some.
_DEVIATIONS, _MORE = 8.0, 16.0


@dataclass(frozen=True)
class Chosen:
    """Primary units that are drawn.

    Attributes
    ----------
    rows, cols : int array (units,)
        Of the lattice of primary units.
    hits : tuple of tuple of int
        Numbers of the draws that chose each, from 1: one, or several where units are drawn with
        replacement.
    pixels : int array (units,)
        Of the population in each.
    total_units, total_pixels : int
    draws : int
    """

    rows: _Ints
    cols: _Ints
    hits: tuple[tuple[int, ...], ...]
    pixels: _Ints
    total_units: int
    total_pixels: int
    draws: int


def choose_units(rows: _Rows, options: SampleOptions, count: int) -> Chosen:
    """Draw primary units: with equal probability and without replacement, or by size and with it.

    Parameters
    ----------
    rows : mapping
        ``block_row``, ``block_col`` and ``pixels`` of every primary unit, sorted by place.
    options : SampleOptions
    count : int
        Draws. A larger number keeps what a smaller one drew.

    Raises
    ------
    RecipeError
        When there are not so many.
    """
    places = rows["block_row"], rows["block_col"]
    pixels = rows["pixels"].astype(np.int64)
    if options.chosen == "size":
        # A pixel at random is in a unit with a probability proportional to the unit's pixels.
        edges = np.cumsum(pixels)
        hit_units = np.searchsorted(
            edges, uniform(options.seed, "hits", count) * edges[-1], "right"
        )
        which, first = np.unique(hit_units, return_index=True)
        which = which[np.argsort(first)]
        hits = tuple(tuple(map(int, np.flatnonzero(hit_units == unit) + 1)) for unit in which)
    else:
        if count > len(pixels):
            raise RecipeError(
                f"blocks is {count:,}, and the area has {len(pixels):,} of {options.block:g} m; "
                "ask for fewer, or for a smaller block"
            )
        which = np.argsort(place_numbers(options.seed, "blocks", *places), kind="stable")[:count]
        hits = tuple((number,) for number in range(1, count + 1))
    return Chosen(
        rows=places[0][which], cols=places[1][which], hits=hits, pixels=pixels[which],
        total_units=len(pixels), total_pixels=int(pixels.sum()), draws=count,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One code of a cell.

    Attributes
    ----------
    code : int
    block_row, block_col : int
        The primary unit; 0 where there are none.
    cell : int
    pixels : int
        Of the cell.
    take : int
        Units to draw from it; rows of the spacing, where the sample is systematic.
    threshold : int
        No unit's random number is above it; columns of the spacing likewise.
    probability : float
        Of a pixel to be in the sample.
    hits : str
        Numbers of the draws that chose the primary unit.
    of_units : int
        How many primary units there are.
    """

    code: int
    block_row: int = 0
    block_col: int = 0
    cell: int
    pixels: int
    take: int
    threshold: int
    probability: float
    hits: str = ""
    of_units: int = 0


def cells_of_strata(strata: Strata, sizes: _Ints) -> list[Cell]:
    """Cells of strata: each is one."""
    return [
        Cell(
            code=code,
            cell=number,
            pixels=stratum.pixels,
            take=take,
            threshold=threshold(take, stratum.pixels),
            probability=take / stratum.pixels,
        )
        for number, (stratum, take) in enumerate(zip(strata.all, sizes.tolist(), strict=True))
        for code in stratum.codes
    ]


def cells_of_units(
    strata: Strata, chosen: Chosen, counts: _Rows, options: SampleOptions
) -> list[Cell]:
    """Cells of two stages: each stratum in each primary unit that is drawn is one.

    Parameters
    ----------
    strata : Strata
    chosen : Chosen
    counts : mapping
        ``code``, ``block_row``, ``block_col`` and ``pixels`` of the chosen units.
    options : SampleOptions
    """
    stratum_of = {
        code: number for number, stratum in enumerate(strata.all) for code in stratum.codes
    }
    unit_of = {place: n for n, place in enumerate(_places(chosen.rows, chosen.cols))}
    in_cell: dict[tuple[int, int], dict[int, int]] = {}
    places = _places(counts["block_row"], counts["block_col"])
    for code, place, pixels in zip(counts["code"].tolist(), places, counts["pixels"], strict=True):
        if place in unit_of and code in stratum_of:
            codes = in_cell.setdefault((unit_of[place], stratum_of[code]), {})
            codes[code] = int(pixels)
    cells = []
    for number, ((unit, _), codes) in enumerate(sorted(in_cell.items())):
        pixels = sum(codes.values())
        take = min(pixels, options.per_block * len(chosen.hits[unit]))
        cells += [
            Cell(
                code=code,
                block_row=int(chosen.rows[unit]),
                block_col=int(chosen.cols[unit]),
                cell=number,
                pixels=pixels,
                take=take,
                threshold=threshold(take, pixels),
                probability=_probability(chosen, unit, pixels, options),
                hits=" ".join(map(str, chosen.hits[unit])),
                of_units=chosen.total_units,
            )
            for code in codes
        ]
    return cells


def cells_of_lattice(strata: Strata, options: SampleOptions) -> list[Cell]:
    """The cell of a systematic sample: all pixels; its spacing in place of what is drawn.

    The spacing is the lattice's, or the widest that gives ``size`` units on average.
    """
    total = int(strata.pixels.sum())
    rows, cols = with_lattice(options, total).lattice or (1, 1)
    systematic_starts(options.seed, options.starts, (rows, cols))  # refuses too many
    return [
        Cell(
            code=code,
            cell=0,
            pixels=total,
            take=rows,
            threshold=cols,
            probability=options.starts / (rows * cols),
        )
        for stratum in strata.all
        for code in stratum.codes
    ]


def with_lattice(options: SampleOptions, pixels: int) -> SampleOptions:
    """Options of a systematic sample with a spacing in pixels; others as they are."""
    if options.design != "systematic" or options.lattice is not None:
        return options
    width = max(math.isqrt(pixels * options.starts // (options.size or 1)), 1)
    return options.model_copy(update={"lattice": (width, width)})


def systematic_starts(seed: int, count: int, spacing: tuple[int, int]) -> list[tuple[int, int]]:
    """Row and column, within the spacing, of each random start; more starts keep the first ones.

    Raises
    ------
    RecipeError
        When there are not so many.
    """
    rows, cols = spacing
    if count > rows * cols:
        raise RecipeError(
            f"starts is {count}, and a spacing of {rows} x {cols} pixels has {rows * cols}; ask "
            "for a wider spacing"
        )
    starts: dict[tuple[int, int], None] = {}
    tried = 4 * count
    while len(starts) < count:
        places = (uniform(seed, "starts", tried) * (rows * cols)).astype(np.int64)
        starts = dict.fromkeys(divmod(int(place), cols) for place in places)
        tried *= 2
    return list(starts)[:count]


def threshold(take: int, pixels: int) -> int:
    """A random number that more than ``take`` of so many are below, almost surely.

    What is drawn does not depend on it: it bounds the rows of a tile.
    """
    share = (take + _DEVIATIONS * np.sqrt(take) + _MORE) / pixels
    return LARGEST if share >= 1 else int(share * LARGEST)


def _probability(chosen: Chosen, unit: int, pixels: int, options: SampleOptions) -> float:
    """Inclusion probability of a pixel of a cell of a primary unit."""
    if options.chosen == "equal":
        return chosen.draws / chosen.total_units * min(1.0, options.per_block / pixels)
    from scipy import stats

    # Drawn h times, it gives h times as many pixels: the mean over h, which is exact.
    hits = np.arange(chosen.draws + 1)
    chance = stats.binom.pmf(hits, chosen.draws, chosen.pixels[unit] / chosen.total_pixels)
    return float((chance * np.minimum(hits * options.per_block, pixels)).sum() / pixels)


def _places(rows: _Ints, cols: _Ints) -> list[tuple[int, int]]:
    return list(zip(rows.tolist(), cols.tolist(), strict=True))
