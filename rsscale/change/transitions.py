"""How probable it is that a class becomes another in a year: matrices from what a user says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest

Matrix = npt.NDArray[np.float64]
_SUM = 1e-6


def staying(count: int, stay: float, forbidden: Iterable[tuple[int, int]] = ()) -> Matrix:
    """A matrix ``(K, K)`` by which a class stays with a probability, and else becomes any other.

    Parameters
    ----------
    count : int
        Classes.
    stay : float
        From 0 to 1, of a year.
    forbidden : iterable of (from, to)
        Numbers of classes: their share goes to the other classes that ``from`` may become, and
        where there are none it stays.
    """
    matrix = np.full((count, count), (1 - stay) / max(count - 1, 1))
    for of, to in forbidden:
        matrix[of, to] = 0.0
    np.fill_diagonal(matrix, 0.0)
    for of in range(count):
        total = matrix[of].sum()
        if total:
            matrix[of] *= (1 - stay) / total
        matrix[of, of] = 1 - matrix[of].sum()
    return matrix


def matrix_of(rows: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Matrix:
    """The matrix that a user wrote: for each class, the probabilities of what it becomes.

    Raises
    ------
    RecipeError
        When a class is missing or unknown, a probability is none, or a row does not sum to one.
    """
    check_names(rows, names, "transitions")
    missing = [name for name in names if name not in rows]
    if missing:
        raise RecipeError(
            f"transitions has no row for {missing[0]!r}; give one for each of {list(names)}"
        )
    matrix = np.zeros((len(names), len(names)))
    for of, row in rows.items():
        check_names(row, names, f"transitions.{of}")
        for to, probability in row.items():
            if not 0 <= probability <= 1:
                raise RecipeError(
                    f"transitions.{of}.{to} is {probability}; expected a probability from 0 to 1"
                )
            matrix[names.index(of), names.index(to)] = probability
        total = matrix[names.index(of)].sum()
        if abs(total - 1) > _SUM:
            raise RecipeError(
                f"transitions.{of} sums to {total:g}; what a class becomes sums to 1, with what "
                "stays"
            )
    return matrix


def pairs_of(forbidden: Iterable[tuple[str, str]], names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of class numbers of pairs of names.

    Raises
    ------
    RecipeError
        When a name is no class, or a class is forbidden to stay what it is.
    """
    pairs = []
    for of, to in forbidden:
        check_names((of, to), names, "forbidden")
        if of == to:
            raise RecipeError(f"forbidden has {of!r} to itself; a class may stay what it is")
        pairs.append((names.index(of), names.index(to)))
    return pairs


def shares_of(prior: Mapping[str, float], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Shares of classes ``(K,)``, which sum to 1, of any positive numbers.

    Raises
    ------
    RecipeError
        When a class is missing or unknown, or has no share.
    """
    check_names(prior, names, "prior")
    bad = [name for name in names if not 0 < prior.get(name, 0) < np.inf]
    if bad:
        raise RecipeError(
            f"prior gives {bad[0]!r} {prior.get(bad[0], 'nothing')}; give each class a share "
            "above 0"
        )
    shares = np.array([prior[name] for name in names], np.float64)
    whole: npt.NDArray[np.float64] = shares / shares.sum()
    return whole


def over_years(matrix: Matrix, years: int) -> Matrix:
    """The matrix of several years in one step."""
    return np.linalg.matrix_power(matrix, years)


def check_names(given: Iterable[str], names: Sequence[str], place: str) -> None:
    """Refuse what is no class.

    Raises
    ------
    RecipeError
    """
    for name in given:
        if name not in names:
            raise RecipeError(
                f"{place} names {name!r}, which is no class; there are {list(names)}"
                f"{nearest(str(name), names)}"
            )
