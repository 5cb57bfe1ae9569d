"""The scores of objects, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rsscale.decorators.first_argument import made_by
from rsscale.object_scores.figures import GroupScores
from rsscale.survey_estimators.estimates import Estimate
from rsscale.text.html_tables import block, heading, small_lines, table
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pandas as pd

_COUNTS = ("truth", "right", "false", "missed")


@made_by("rs.score_objects(predicted, truth)")
@dataclass(frozen=True, eq=False)
class ObjectScores:
    """How well predicted objects agree with true ones.

    Attributes
    ----------
    measure : str
        ``"iou"``, intersection over union of outlines, or ``"distance"``, of points in metres.
    rule : str
        How objects are matched: ``"score"``, highest first, or ``"order"``, as they are stored.
    thresholds : tuple of float
        Of the measure, at which precision, recall and F1 are given.
    overall : GroupScores
    classes, sizes, regions : mapping of str to GroupScores
        By name; sizes are those of the true objects.
    predicted, truth : int
        Objects that were scored, before any that do not count are left out.
    blocks : int
        Of the bootstrap: those that hold objects.
    block : float, optional
        Their width in metres; None where blocks are images.
    confidence, resamples, seed
        Of the intervals.
    notes : tuple of str
        What was left out or repaired, and what else a reader must know.
    """

    measure: str
    rule: str
    thresholds: tuple[float, ...]
    overall: GroupScores
    classes: Mapping[str, GroupScores]
    predicted: int
    truth: int
    blocks: int
    block: float | None
    confidence: float
    resamples: int
    seed: int
    sizes: Mapping[str, GroupScores] = field(default_factory=dict)
    regions: Mapping[str, GroupScores] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As ``objects-accuracy.json`` has it, without what is said of files."""
        return {
            "format": 1,
            "measure": self.measure,
            "matching": self.rule,
            "thresholds": list(self.thresholds),
            "objects": {"predicted": self.predicted, "truth": self.truth},
            "overall": self.overall.to_dict(),
            "classes": _as_dicts(self.classes),
            "sizes": _as_dicts(self.sizes),
            "regions": _as_dicts(self.regions),
            "bootstrap": {
                "blocks": self.blocks,
                "block_m": self.block,
                "resamples": self.resamples,
                "confidence": self.confidence,
                "seed": self.seed,
            },
            "notes": list(self.notes),
        }

    def table(self) -> pd.DataFrame:
        """All figures as rows: ``group``, ``name``, ``threshold``, ``figure``, ``value``, ….

        ``group`` is ``all``, ``class``, ``size`` or ``region``; ``se``, ``low`` and ``high`` are
        NaN where they are not estimable, and ``why`` says the reason.
        """
        import pandas as pd

        rows = []
        for group, name, scores in self._groups():
            head = {"group": group, "name": name, "truth": scores.truth}
            figures: list[tuple[float | None, str, Estimate]] = [
                (threshold, figure, getattr(match, figure))
                for threshold, match in scores.thresholds.items()
                for figure in ("precision", "recall", "f1")
            ]
            figures += [
                (None, figure, estimate)
                for figure, estimate in {**scores.average_precision, **scores.panoptic}.items()
            ]
            for threshold, figure, estimate in figures:
                numbers = {key: getattr(estimate, key) for key in ("value", "se", "low", "high")}
                rows.append(
                    {
                        **head,
                        "threshold": threshold,
                        "figure": figure,
                        **numbers,
                        "why": estimate.why,
                    }
                )
        frame = pd.DataFrame(rows)
        kinds = dict.fromkeys(["threshold", "value", "se", "low", "high"], "float64")
        return frame.astype(kinds)

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        tables = [table(rows, head) for head, *rows in self._tables()]
        return block(heading(self._head()), *tables, small_lines(self._ends()))

    def _groups(self) -> Iterator[tuple[str, str, GroupScores]]:
        yield "all", "all", self.overall
        for group, some in (
            ("class", self.classes),
            ("size", self.sizes),
            ("region", self.regions),
        ):
            for name, scores in some.items():
                yield group, name, scores

    def _rows(self) -> list[tuple[str, GroupScores]]:
        """The rows of a table: of one class, it is that of all."""
        single = len(self.classes) == 1
        rows = [(name, scores) for group, name, scores in self._groups() if group != "class"]
        if single:
            return [(next(iter(self.classes)), self.overall), *rows[1:]]
        return [rows[0], *self.classes.items(), *rows[1:]]

    def _lines(self) -> Iterator[str]:
        yield self._head()
        for rows in self._tables():
            yield ""
            widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
            for first, *others in rows:
                cells = [f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True)]
                yield "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()
        yield from self._ends()

    def _head(self) -> str:
        order = "highest score first" if self.rule == "score" else "in the order of the table"
        return (
            f"{counted(self.predicted, 'predicted object')}, {self.truth:,} true; matched {order}"
        )

    def _tables(self) -> Iterator[list[tuple[str, ...]]]:
        for threshold in self.thresholds:
            title = f"IoU {threshold:g}" if self.measure == "iou" else f"within {threshold:g} m"
            yield [(title, *_COUNTS, "precision", "recall", "F1")] + [
                (
                    name,
                    *(f"{n:,}" for n in (scores.truth, match.true, match.false, match.missed)),
                    *(_shown(figure) for figure in (match.precision, match.recall, match.f1)),
                )
                for name, scores in self._rows()
                for match in [scores.thresholds[threshold]]
            ]
        names = (*self.overall.average_precision, *self.overall.panoptic)
        yield [("ranked by score", *names)] + [
            (
                name,
                *(
                    _shown({**group_scores.average_precision, **group_scores.panoptic}[n])
                    for n in names
                ),
            )
            for name, group_scores in self._rows()
        ]

    def _ends(self) -> list[str]:
        return ["", self._intervals(), *(f"- {note}" for note in self.notes)]

    def _intervals(self) -> str:
        figures = [
            figure
            for _, _, scores in self._groups()
            for some in (
                *(vars(figure).values() for figure in scores.thresholds.values()),
                scores.average_precision.values(),
                scores.panoptic.values(),
            )
            for figure in some
            if isinstance(figure, Estimate)
        ]
        units = "images" if self.block is None else f"blocks of {self.block:g} m"
        reasons = dict.fromkeys(figure.why for figure in figures if figure.why)
        there = any(figure.low is not None for figure in figures)
        text = (
            f"in brackets: {self.confidence:.0%} intervals, {self.blocks:,} {units} drawn "
            f"{self.resamples:,} times; "
            if there
            else f"no intervals of {self.blocks:,} {units}; "
        )
        dashes = f"without one, or -: {'; '.join(reasons)}" if reasons else ""
        return (text + dashes).removesuffix("; ")


def _as_dicts(some: Mapping[str, GroupScores]) -> dict[str, Any]:
    return {name: scores.to_dict() for name, scores in some.items()}


def _shown(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"
