"""A sample of pixels over all years, and the transitions that are estimated from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsscale.change.hidden_markov import Chain, estimate_steps
from rsscale.change.transitions import Matrix
from rsscale.geo.lattice import position_hash

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 200_000
"""Pixels that transitions are estimated from, at most."""
FEWEST = 1000
"""Below so many the beginning is kept: rare transitions are not seen in a few hundred pixels."""
BEGIN_COUNTS = 20.0
"""Transitions that each class is taken to have made as the beginning says: none is impossible that
was not said to be, and a class of a few pixels is not told by these alone."""


def some_pixels(tables: Iterable[pa.Table], most: int = MOST) -> pa.Table:
    """At most so many rows of tables, by the place of their pixels, which they are sorted by.

    Those whose position has the smallest hash: the same ones however the area was cut. No more
    than twice as many, and a table, are held at once, however large the area.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        With the columns ``row`` and ``col``; at least one table.
    most : int
    """
    import pyarrow as pa

    kept: list[pa.Table] = []
    held = 0
    for table in tables:
        kept.append(table)
        held += len(table)
        if held > 2 * most:
            kept = [_of_smallest_hash(pa.concat_tables(kept), most)]
            held = most
    chosen = _of_smallest_hash(pa.concat_tables(kept), most)
    return chosen.sort_by([("row", "ascending"), ("col", "ascending")])


def _of_smallest_hash(table: pa.Table, most: int) -> pa.Table:
    if len(table) <= most:
        return table
    hashes = position_hash(table["row"].to_numpy(), table["col"].to_numpy())
    # Taken, not sliced: a slice would hold on to all of the table.
    return table.take(np.argpartition(hashes, most)[:most])


def estimate(
    likelihood: npt.NDArray[np.float32], years: Sequence[int], begin: Matrix
) -> tuple[Matrix, Matrix]:
    """The matrix of a year, and how often each class became each other in the sample.

    Of fewer than :data:`FEWEST` pixels the beginning is kept.

    Parameters
    ----------
    likelihood : float32 array (T, K, P)
        Of the years, 1 where not seen.
    years : sequence of int
        In order; those between that are not there are years that were not seen.
    begin : float array (K, K)
        Where it begins; what is 0 stays 0.

    Returns
    -------
    (float array (K, K), float array (K, K))
        Probabilities, and expected numbers of transitions, over pixels and years.
    """
    count, pixels = likelihood.shape[1:]
    every = np.ones((years[-1] - years[0] + 1, count, pixels), np.float32)
    every[np.array(years) - years[0]] = likelihood
    chain = Chain(np.full(count, 1 / count), [begin] * (len(every) - 1))
    if pixels < FEWEST:
        return begin, estimate_steps(every, chain, rounds=1).pairs
    estimated = estimate_steps(every, chain, begin_counts=BEGIN_COUNTS)
    return estimated.matrix, estimated.pairs
