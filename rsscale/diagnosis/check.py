"""The result of one check of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rsscale.text.html_tables import Cell, block, small_lines, table

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        Such as ``"GPU"``.
    status : {"ok", "note", "problem"}
        A note is slower or lacks something that not everybody needs; a problem stops runs.
    text : str
        What there is. Never a secret.
    remedy : str
        What to do, of notes and problems.
    """

    name: str
    status: Status
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Results of all checks.

    Attributes
    ----------
    checks : tuple of Check
    """

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return tuple(check for check in self.checks if check.status == "problem")

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON, for a report of a bug."""
        return {"checks": [vars(check) for check in self.checks]}

    def __str__(self) -> str:
        marks = {"ok": "  ", "note": "! ", "problem": "X "}
        width = max(len(check.name) for check in self.checks)
        rows = []
        for check in self.checks:
            rows.append(f"{marks[check.status]}{check.name:<{width}}  {check.text}")
            if check.remedy:
                rows.append(f"  {'':<{width}}  → {check.remedy}")
        return "\n".join([*rows, "", self._end()])

    def _repr_html_(self) -> str:
        words = {"ok": "", "note": "note", "problem": "problem"}
        rows = [
            (Cell(check.name, is_bold=True), words[check.status], check.text, check.remedy)
            for check in self.checks
        ]
        return block(table(rows, ("", "", "found", "what to do"), "l"), small_lines([self._end()]))

    def _end(self) -> str:
        count = len(self.problems)
        return "nothing stands in the way" if not count else f"{count} would stop a run (X)"

    __repr__ = __str__
