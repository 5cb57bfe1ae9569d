"""Areas and accuracy of a report: estimated from a sample, or of the map and a reference map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsscale.run_report.figures import Figure, hectares, interval, number, percent
from rsscale.run_report.maps import MapFigure

_GREY = "#9a9a95"  # of a class without a colour
_MOST_REGIONS = 12  # of a page; the files of the assessment have all
_MOST_CLASSES = 30  # of an error matrix that a page holds


@dataclass(frozen=True)
class AreaRow:
    """Hectares of a class: mapped, and estimated from a sample where there is one."""

    name: str
    color: str
    mapped: float | None
    estimated: Figure
    units: int | None = None


@dataclass(frozen=True)
class AreaTable:
    """Areas of one period, of the whole area or of a region.

    Attributes
    ----------
    title : str
        ``"2023"``, or ``"2023, North"``.
    rows : tuple of AreaRow
    is_estimated : bool
        Whether a sample has adjusted them.
    """

    title: str
    rows: tuple[AreaRow, ...]
    is_estimated: bool

    @property
    def remarks(self) -> list[str]:
        """What is to be known of figures that are there, such as why one has no standard error."""
        rows = [row for row in self.rows if row.estimated.value is not None and row.estimated.why]
        return [f"{row.name}: {row.estimated.why}" for row in rows]

    @property
    def top(self) -> float:
        """The largest number of the table, that bars are drawn against."""
        values = [
            value
            for row in self.rows
            for value in (row.mapped, row.estimated.value, row.estimated.high)
            if value is not None
        ]
        return max([*values, 1e-9])


def summarised(areas: Mapping[str, Any]) -> dict[str, Any]:
    """What ``areas.json`` says of its sample and estimator, whatever is missing in it."""
    said = areas.get("sample")
    sample = said if isinstance(said, Mapping) else {}
    notes = [str(line) for line in areas.get("notes") or ()]
    regions = len(_mappings(areas.get("regions")))
    if regions > _MOST_REGIONS:
        notes.append(
            f"The first {_MOST_REGIONS} of {regions:,} regions are listed here; "
            "all are in areas.csv."
        )
    return {
        "units": number(sample.get("used", sample.get("units"))),
        "left_out": [str(line) for line in sample.get("left_out") or ()],
        "design": str(areas.get("design") or "of a design that is not told"),
        "estimator": str(areas.get("estimator") or ""),
        "confidence": number(areas.get("confidence")) or 0.95,
        "notes": notes,
    }


def estimated_areas(areas: Mapping[str, Any]) -> list[AreaTable]:
    """A table for each period of ``areas.json``, and for each of the first regions after them."""
    tables = [_table(str(span), part) for span, part in _mappings(areas.get("periods"))]
    for name, region in _mappings(areas.get("regions"))[:_MOST_REGIONS]:
        if "classes" in region:
            tables.append(_table(str(name), region))
        else:
            tables += [_table(f"{span}, {name}", part) for span, part in _mappings(region)]
    return tables


def mapped_areas(maps: Sequence[MapFigure]) -> list[AreaTable]:
    """A table for each map: hectares of its pixels, with all its errors."""
    return [
        AreaTable(
            figure.title,
            tuple(AreaRow(row.name, row.color, row.hectares, Figure()) for row in figure.legend),
            is_estimated=False,
        )
        for figure in maps
    ]


def _table(title: str, part: Mapping[str, Any]) -> AreaTable:
    rows = [
        AreaRow(
            str(row.get("name", row.get("value"))),
            str(row.get("color") or _GREY),
            number(row.get("mapped_hectares")),
            Figure.of(row.get("hectares")),
            row.get("units_reference"),
        )
        for row in part.get("classes", ())
    ]
    rows.sort(key=lambda row: -(row.estimated.value or row.mapped or 0.0))
    return AreaTable(title, tuple(rows), is_estimated=True)


def _mappings(content: Any) -> list[tuple[Any, Mapping[str, Any]]]:
    pairs = content.items() if isinstance(content, Mapping) else ()
    return [(name, part) for name, part in pairs if isinstance(part, Mapping)]


@dataclass(frozen=True)
class AccuracyRow:
    """A class with its accuracies."""

    name: str
    color: str
    users: Figure
    producers: Figure
    f1: Figure


@dataclass(frozen=True)
class ErrorMatrix:
    """Counts by the map's class (rows) and the reference's (columns)."""

    names: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]
    unit: str

    def shade(self, row: int, col: int) -> float:
        """How dark a cell is, 0 to 1: its share of the row."""
        total = sum(self.counts[row])
        return self.counts[row][col] / total if total else 0.0


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracy of one period."""

    title: str
    overall: Figure
    rows: tuple[AccuracyRow, ...]
    matrix: ErrorMatrix | None
    notes: tuple[str, ...] = field(default=())


def sample_accuracy(areas: Mapping[str, Any]) -> list[AccuracyTable]:
    """A table for each period of ``areas.json``."""
    return [
        AccuracyTable(
            str(span),
            Figure.of(part.get("overall")),
            tuple(
                AccuracyRow(
                    str(row.get("name")), str(row.get("color") or _GREY),
                    Figure.of(row.get("users")), Figure.of(row.get("producers")),
                    Figure.of(row.get("f1")),
                )
                for row in part.get("classes", ())
            ),
            _matrix([str(row.get("name")) for row in part.get("classes", ())],
                    part.get("counts"), "sample units"),
        )
        for span, part in (areas.get("periods") or {}).items()
    ]  # fmt: skip


def interpreters_lines(areas: Mapping[str, Any]) -> list[str]:
    """How far two interpreters of the same units agree; nothing where there was one."""
    both = areas.get("interpreters")
    if not isinstance(both, Mapping):
        return []
    agreement, kappa = Figure.of(both.get("agreement")), Figure.of(both.get("kappa"))
    lines = [
        f"Two people interpreted {both.get('units', '?')} units: they agree on "
        f"{percent(agreement.value)} of them ({interval(agreement, 'percent') or 'no interval'})"
        + ("" if kappa.value is None else f", kappa {kappa.value:.2f}")
        + "."
    ]
    for row in both.get("classes", ()):
        first, second = (
            Figure.of((row.get("hectares") or {}).get(name)).value for name in ("first", "second")
        )
        if first is not None and second is not None and first != second:
            lines.append(
                f"{row.get('name')}: {hectares(first)} ha by the first, {hectares(second)} ha by "
                "the second."
            )
    return lines


def reference_accuracy(
    accuracy: Mapping[str, Any], colors: Mapping[str, str]
) -> list[AccuracyTable]:
    """A table of ``accuracy.json``: of all its maps together, and of each where there are several.

    Parameters
    ----------
    accuracy : mapping
    colors : mapping of class to colour
    """
    periods = accuracy.get("periods") or {}
    parts = [("", accuracy)] if len(periods) < 2 else [("all periods", accuracy), *periods.items()]
    return [_of_reference(title, part, colors) for title, part in parts]


def described_comparison(accuracy: Mapping[str, Any]) -> list[str]:
    """What was compared with what, and what the figures can't say; a sentence each."""
    kinds = {
        str(reference.get("kind", "reference"))
        for reference in (accuracy.get("references") or {}).values()
    }
    pixels = number(accuracy.get("pixels")) or 0
    kinds_text = " and ".join(f"a {kind}" for kind in sorted(kinds)) or "a reference"
    lines = [f"Compared with {kinds_text} at {pixels:,.0f} pixels."]
    if accuracy.get("training_labels") and number(accuracy.get("distance_m")):
        lines.append(f"Pixels within {accuracy['distance_m']:g} m of training labels are left out.")
    if accuracy.get("design") == "random":
        lines.append("The reference is a simple random sample of the area.")
    else:
        lines.append(
            "This is no probability sample: the figures describe the compared pixels. They give no "
            "area of a class; a sample drawn by rsscale design does."
        )
    return [*lines, *map(str, accuracy.get("notes") or ())]


def _of_reference(title: str, part: Mapping[str, Any], colors: Mapping[str, str]) -> AccuracyTable:
    classes = part.get("classes") or {}
    # The matrix has the classes by value, the mapping by name.
    ordered = sorted(classes.items(), key=lambda pair: pair[1].get("value", 0))
    rows = tuple(
        AccuracyRow(
            name,
            colors.get(name, _GREY),
            Figure.within(row.get("users_accuracy"), row.get("users_interval")),
            Figure.within(row.get("producers_accuracy"), row.get("producers_interval")),
            Figure.of(row.get("f1")),
        )
        for name, row in ordered
    )
    matrix = _matrix([name for name, _ in ordered], part.get("confusion_matrix"), "pixels")
    overall = Figure.within(part.get("overall"), part.get("interval"))
    return AccuracyTable(title, overall, rows, matrix)


def _matrix(names: list[str], counts: Any, unit: str) -> ErrorMatrix | None:
    """The matrix, where it has a row and a column for each class, and a page has room for it."""
    if not isinstance(counts, Sequence) or len(counts) != len(names) or not names:
        return None
    if len(names) > _MOST_CLASSES:
        return None
    if any(len(row) != len(names) for row in counts):
        return None
    rows = tuple(tuple(number(value) or 0.0 for value in row) for row in counts)
    return ErrorMatrix(tuple(names), rows, unit)
