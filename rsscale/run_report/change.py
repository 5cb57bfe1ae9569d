"""The change of a report: what became what, estimated from a sample or mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.reporting.pixels import COUNTED, check_has, count_pairs, open_level
from rsscale.reporting.transition_matrix import transition_matrix
from rsscale.run_report.figures import Figure, number
from rsscale.runs.run import Run

_LISTED = 15
_MOST = 14  # classes of a matrix that is still read on paper


@dataclass(frozen=True)
class Transition:
    """Hectares that went from a class to another."""

    before: str
    after: str
    hectares: Figure
    units: int | None = None


@dataclass(frozen=True)
class ChangeTable:
    """What became what between two periods.

    Attributes
    ----------
    title : str
    is_estimated : bool
    changed : Figure
        Hectares that became another class.
    total : float or None
        Hectares of all.
    transitions : tuple of Transition
        The largest first, without what stayed.
    more : int
        How many further ones there are.
    names : tuple of str
        Classes of the matrix; empty where it is too large, or not known.
    hectares : tuple of tuple of float
        Rows: the class before.
    """

    title: str
    is_estimated: bool
    changed: Figure
    total: float | None
    transitions: tuple[Transition, ...]
    more: int = 0
    names: tuple[str, ...] = ()
    hectares: tuple[tuple[float, ...], ...] = ()

    @property
    def top(self) -> float:
        """The most hectares of a transition, or of its interval."""
        figures = [transition.hectares for transition in self.transitions]
        return max(
            [v for figure in figures for v in (figure.value, figure.high) if v is not None] + [1e-9]
        )

    def shade(self, row: int, col: int) -> float:
        """How dark a cell of the matrix is, 0 to 1; what stayed has no shade."""
        moved = [v for i, r in enumerate(self.hectares) for j, v in enumerate(r) if i != j]
        most = max([*moved, 0.0])
        return 0.0 if row == col or not most else float(np.sqrt(self.hectares[row][col] / most))


def estimated_changes(areas: Mapping[str, Any]) -> list[ChangeTable]:
    """A table for each pair of periods of ``areas.json``."""
    tables = []
    for span, part in (areas.get("change") or {}).items():
        listed = [
            Transition(
                str(row.get("from_name", row.get("from"))),
                str(row.get("to_name", row.get("to"))),
                Figure.of(row.get("hectares")),
                row.get("units"),
            )
            for row in part.get("transitions", ())
            if row.get("from") != row.get("to")
        ]
        listed.sort(key=lambda transition: -(transition.hectares.value or 0.0))
        names, matrix = _estimated_matrix(areas, part.get("matrix_hectares"))
        changed = Figure.of((part.get("changed") or {}).get("hectares"))
        tables.append(
            ChangeTable(
                _title(span), True, changed, None,
                tuple(listed[:_LISTED]), max(len(listed) - _LISTED, 0), names, matrix,
            )
        )  # fmt: skip
    return tables


def _estimated_matrix(
    areas: Mapping[str, Any], hectares: Any
) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """Classes and matrix of estimated hectares; nothing where there is none, or a large one."""
    period: Mapping[str, Any] = next(iter((areas.get("periods") or {}).values()), {})
    names = tuple(str(row.get("name")) for row in period.get("classes", ()))
    if not hectares or len(hectares) != len(names) or len(names) > _MOST:
        return (), ()
    return names, tuple(tuple(number(value) or 0.0 for value in row) for row in hectares)


def mapped_changes(run: Run, state: Mapping[str, Any]) -> list[ChangeTable]:
    """A table for each finished step of kind ``transitions``, else of each change layer.

    Hectares are those of the map, with its errors: small changes are mostly overestimated.
    """
    steps = state["steps"]
    done = {n: s for n, s in steps.items() if s["tiles"]["done"] == s["tiles"]["total"]}
    counted = [name for name in done if f"{name}-hectares" in done]
    if counted:
        matrices = [transition_matrix(run, name) for name in counted]
        return [_of_matrix(matrix.span, matrix.classes, matrix.hectares) for matrix in matrices]
    tables = []
    for name, step in done.items():
        layers = {layer["name"] for layer in step.get("layers") or ()}
        if {"from", "to", "change"} <= layers:
            tables += _of_layers(run, state, name, step.get("spans") or [name])
    return tables


def _of_layers(
    run: Run, state: Mapping[str, Any], step: str, spans: Sequence[str]
) -> list[ChangeTable]:
    product = open_level(run, state, step, most=COUNTED)
    before, after = (check_has(product.ds, name, step) for name in ("from", "to"))
    classes = classes_from_attributes(before.attrs)
    values = [land_class.value for land_class in classes]
    tables = []
    for k, span in enumerate(spans[: before.sizes["time"]]):
        pairs = count_pairs(product, before[k], after[k])
        tables.append(_of_matrix(span, classes, pairs[np.ix_(values, values)]))
    return tables


def _of_matrix(
    span: str, classes: Sequence[LandClass], hectares: npt.NDArray[np.float64]
) -> ChangeTable:
    names = tuple(land_class.name for land_class in classes)
    pairs = [
        Transition(names[row], names[col], Figure(float(hectares[row, col])))
        for row, col in np.argwhere(hectares > 0)
        if row != col
    ]
    pairs.sort(key=lambda transition: -(transition.hectares.value or 0.0))
    fits = len(names) <= _MOST
    return ChangeTable(
        _title(span), False,
        Figure(float(hectares.sum() - np.trace(hectares))), float(hectares.sum()),
        tuple(pairs[:_LISTED]), max(len(pairs) - _LISTED, 0),
        names if fits else (),
        tuple(tuple(map(float, row)) for row in hectares) if fits else (),
    )  # fmt: skip


def _title(span: str) -> str:
    return str(span).replace("-", " to ")
