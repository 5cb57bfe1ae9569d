"""Everything that a sample tells of a map, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rsscale.decorators.first_argument import made_by
from rsscale.estimation.change_figures import ChangeFigures
from rsscale.estimation.figures import MapFigures
from rsscale.estimation.interpreters import Interpreters
from rsscale.survey_estimators.estimates import Estimate
from rsscale.text.html_tables import AnyCell, Cell, block, heading, small_lines, table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

_HEADINGS = ("area ha", "interval ha", "mapped ha", "user's", "producer's", "F1", "units")


@made_by("rs.assess_sample(run, sample) or rs.estimate(table)")
@dataclass(frozen=True, eq=False)
class AreaEstimates:
    """Accuracies and areas, with standard errors and intervals.

    Attributes
    ----------
    design : str
        ``"simple"``, ``"stratified"``, ``"systematic"`` or ``"two-stage"``.
    confidence : float
        Of the intervals.
    periods : mapping of str to MapFigures
    change : mapping of str to ChangeFigures
        By span, ``"2023-2024"``.
    regions : mapping of str to mapping of str to MapFigures
        By region, then by period.
    interpreters : Interpreters, optional
    used, drawn : int
        Units that have a reference in some period, and all.
    left_out : tuple of str
        Lines on units without one.
    notes : tuple of str
        What else a reader must know.
    """

    design: str
    confidence: float
    periods: Mapping[str, MapFigures]
    change: Mapping[str, ChangeFigures] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, MapFigures]] = field(default_factory=dict)
    interpreters: Interpreters | None = None
    used: int = 0
    drawn: int = 0
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, period: str | int) -> MapFigures:
        return self.periods[str(period)]

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` has it, without what is said of files."""
        last = list(self.periods)[-1]
        return {
            "format": 1,
            "design": self.design,
            "confidence": self.confidence,
            "sample": {"units": self.drawn, "used": self.used, "left_out": list(self.left_out)},
            "periods": {period: figures.to_dict() for period, figures in self.periods.items()},
            "change": {span: change.to_dict() for span, change in self.change.items()},
            "regions": {
                name: {
                    **some[last].to_dict(),
                    "period": last,
                    "periods": {period: figures.to_dict() for period, figures in some.items()},
                }
                for name, some in self.regions.items()
            },
            "interpreters": self.interpreters.to_dict() if self.interpreters else None,
            "estimator": self.periods[last].estimator,
            "notes": list(self.notes),
        }

    def table(self) -> pd.DataFrame:
        """All figures as rows: ``period``, ``region``, ``figure``, ``value``, ``name``, ….

        ``figure`` is ``overall``, ``hectares``, ``users``, ``producers``, ``f1``, ``transition``,
        ``changed`` or ``net``; ``estimate``, ``se``, ``low`` and ``high`` are NaN where they are
        not estimable, and ``why`` says the reason.
        """
        import pandas as pd

        columns = ["period", "region", "figure", "value", "name", "to_value", "to_name"]
        columns += ["estimate", "se", "low", "high", "why", "mapped_hectares", "units"]
        frame = pd.DataFrame(list(self._rows()), columns=columns)
        numbers = ["estimate", "se", "low", "high", "mapped_hectares"]
        whole = ["value", "to_value", "units"]
        return frame.astype(dict.fromkeys(numbers, "float64") | dict.fromkeys(whole, "Int64"))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for period, figures in self.periods.items():
            yield from _map_rows(figures, period, "")
        for region, some in self.regions.items():
            for period, figures in some.items():
                yield from _map_rows(figures, period, region)
        for span, change in self.change.items():
            head = {"period": span, "region": ""}
            yield {
                **head, "figure": "changed", "mapped_hectares": change.mapped_hectares,
                **_numbers(change.changed),
            }  # fmt: skip
            for pair in change.transitions:
                yield {
                    **head, "figure": "transition", "value": pair.before.value,
                    "name": pair.before.name, "to_value": pair.after.value,
                    "to_name": pair.after.name, "units": pair.units, **_numbers(pair.hectares),
                }  # fmt: skip
            for land_class, hectares in change.net:
                yield {
                    **head, "figure": "net", "value": land_class.value, "name": land_class.name,
                    **_numbers(hectares),
                }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        colors = {
            class_figures.land_class.name: class_figures.land_class.color
            for figures in self.periods.values()
            for class_figures in figures.classes
        }
        parts = [heading(self._head())]
        for title, (head, *rows) in self._tables():
            named = 2 if head[:2] == ("from", "to") else 1
            parts += [heading(title), table(_colored(rows, named, colors), head, "l" * named + "r")]
        return block(*parts, small_lines(self._ends()))

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[Any] = [Text(self._head())]
        for title, rows in self._tables():
            shown = Table(box=None, pad_edge=False, header_style="bold")
            for column in rows[0]:
                shown.add_column(column, justify="left" if column == rows[0][0] else "right")
            for row in rows[1:]:
                shown.add_row(*map(Text, row))
            parts += [Text(""), Text(title, style="bold"), shown]
        return Group(*parts, *(Text(line) for line in self._ends()))

    def _lines(self) -> Iterator[str]:
        yield self._head()
        for title, rows in self._tables():
            yield ""
            yield title
            widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
            for row in rows:
                first, *others = row
                cells = [f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True)]
                yield "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()
        yield from self._ends()

    def _head(self) -> str:
        return (
            f"{self.design} sample: {self.used:,} of {self.drawn:,} units interpreted; "
            f"{self.confidence:.0%} intervals"
        )

    def _tables(self) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
        for period, figures in self.periods.items():
            yield f"{period}: overall accuracy {shown_share(figures.overall)}", _map_table(figures)
        for region, some in self.regions.items():
            for period, figures in some.items():
                title = f"{region}, {period}: overall accuracy {shown_share(figures.overall)}"
                yield title, _map_table(figures)
        for span, change in self.change.items():
            rows: list[tuple[str, ...]] = [("from", "to", "area ha", "interval ha", "units")]
            rows += [
                (
                    pair.before.name,
                    pair.after.name,
                    _hectares(pair.hectares.value),
                    _interval(pair.hectares),
                    str(pair.units),
                )
                for pair in change.transitions
                if pair.before != pair.after
            ]
            yield f"{span}: {_changed(change.changed)}", rows

    def _ends(self) -> list[str]:
        lines = [f"{period}: {figures.estimator}" for period, figures in self.periods.items()]
        if self.interpreters is not None:
            two = self.interpreters
            lines.append(
                f"two interpreters agree on {shown_share(two.agreement)} of {two.units:,} units, "
                f"kappa {_decimals(two.kappa.value)}"
            )
        return ["", *lines, *self.left_out, *self.notes]


def _colored(
    rows: Iterable[tuple[str, ...]], named: int, colors: Mapping[str, str]
) -> Iterator[tuple[AnyCell, ...]]:
    """Rows whose first cells, names of classes, have their colours."""
    for row in rows:
        names = (Cell(name, color=colors.get(name, "")) for name in row[:named])
        yield (*names, *row[named:])


def _map_table(figures: MapFigures) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("class", *_HEADINGS)]
    rows += [
        (
            class_figures.land_class.name,
            _hectares(class_figures.hectares.value),
            _interval(class_figures.hectares),
            "-"
            if class_figures.mapped_hectares is None
            else _hectares(class_figures.mapped_hectares),
            shown_share(class_figures.users),
            shown_share(class_figures.producers),
            _decimals(class_figures.f1.value),
            str(class_figures.units_reference),
        )
        for class_figures in figures.classes
    ]
    return rows


def _map_rows(figures: MapFigures, period: str, region: str) -> Iterator[dict[str, Any]]:
    head = {"period": period, "region": region}
    units = int(figures.counts.sum())
    yield {**head, "figure": "overall", "units": units, **_numbers(figures.overall)}
    for class_figures in figures.classes:
        name = {"value": class_figures.land_class.value, "name": class_figures.land_class.name}
        yield {
            **head, "figure": "hectares", **name, "mapped_hectares": class_figures.mapped_hectares,
            "units": class_figures.units_reference, **_numbers(class_figures.hectares),
        }  # fmt: skip
        for figure, estimate, count in (
            ("users", class_figures.users, class_figures.units_mapped),
            ("producers", class_figures.producers, class_figures.units_reference),
            ("f1", class_figures.f1, None),
        ):
            yield {**head, "figure": figure, **name, "units": count, **_numbers(estimate)}


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "estimate": estimate.value,
        "se": estimate.se,
        "low": estimate.low,
        "high": estimate.high,
        "why": estimate.why,
    }


def shown_share(estimate: Estimate) -> str:
    """``"0.880 (0.787-0.936)"``, or that it is not estimable."""
    if estimate.value is None:
        return "not estimable"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _hectares(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:,.1f}"


def _changed(estimate: Estimate) -> str:
    if estimate.value is None:
        return "hectares of change are not estimable"
    changed = f"{_hectares(estimate.value)} ha changed"
    return changed if estimate.low is None else f"{changed} ({_interval(estimate)})"


def _interval(estimate: Estimate) -> str:
    """``"4,107.2-4,408.6"``, or ``"?"`` where the sample is too small for an interval."""
    if estimate.value is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return "?"
    return f"{estimate.low:,.1f}-{estimate.high:,.1f}"


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
