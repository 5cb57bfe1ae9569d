"""The file ``gates.json`` of a run: what its gates said, and of which version of the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rsscale.decorators.first_argument import made_by
from rsscale.documents import read_json
from rsscale.errors import RunFolderError
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import step_version

GATES = "gates.json"
FORMAT = 1
_ORDER = ("failed", "passed", "not checked")


@made_by("rs.check_quality(run)")
@dataclass(frozen=True)
class Gates:
    """The gates of a run, as ``gates.json`` has them.

    Attributes
    ----------
    checked : str
        When, ISO 8601 in UTC.
    version : mapping of step to str
        Of what was checked: :func:`rsscale.store.step_version.step_version`.
    gates : tuple of mapping
        Each with ``name``, ``title``, ``status`` (passed, failed, not checked), ``value``,
        ``threshold``, ``p_value``, ``text`` and ``places``: ``tile``, ``span``, ``bounds`` (west,
        south, east, north in degrees), ``value`` and ``picture``, a file of the run folder or None.
    """

    checked: str
    version: Mapping[str, str]
    gates: tuple[Mapping[str, Any], ...]

    @property
    def passed(self) -> bool:
        """Whether none failed; those that were not checked don't count."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that failed."""
        return self._named("failed")

    @property
    def not_checked(self) -> tuple[str, ...]:
        """Names of the gates that had nothing to look at."""
        return self._named("not checked")

    def is_current(self, folder: RunFolder) -> bool:
        """Whether the run still has what was checked."""
        return all(step_version(folder, step) == known for step, known in self.version.items())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "checked": self.checked,
            "version": dict(self.version),
            "passed": self.passed,
            "gates": [dict(gate) for gate in self.gates],
        }

    def _named(self, status: str) -> tuple[str, ...]:
        return tuple(str(gate["name"]) for gate in self.gates if gate["status"] == status)

    def __str__(self) -> str:
        """A line for each gate, those that failed first."""
        order = sorted(self.gates, key=lambda gate: _ORDER.index(gate["status"]))
        width = max((len(str(gate["name"])) for gate in self.gates), default=0)
        lines = [f"{g['status']:<12} {g['name']:<{width}}  {g['text']}" for g in order]
        count = len(self.failed)
        total = len(self.gates) - len(self.not_checked)
        said = f"{count} of {total} gates failed" if count else f"all {total} gates passed"
        more = f", {len(self.not_checked)} not checked" if self.not_checked else ""
        return "\n".join([*lines, f"{said}{more}"])


def now() -> str:
    """The moment, as the file has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_gates(folder: RunFolder, gates: Gates) -> None:
    """Write ``gates.json``."""
    write_json(folder.storage, GATES, gates.to_dict())


def read_gates(folder: RunFolder) -> Gates | None:
    """The gates of a run; None where they were never checked.

    Raises
    ------
    RunFolderError
        When the file is damaged, or of a newer format.
    """
    try:
        content = read_json(folder.storage.read(GATES))
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    if not _is_whole(content):
        raise RunFolderError(
            f"{folder.url}/{GATES} is damaged, or of another format; check the map again: "
            f"rsscale gates {folder.url}"
        )
    return Gates(content["checked"], content["version"], tuple(content["gates"]))


def _is_whole(content: Any) -> bool:
    """Whether JSON is such a file, in the parts that are asked for."""
    return (
        isinstance(content, dict)
        and content.get("format") == FORMAT
        and isinstance(content.get("checked"), str)
        and isinstance(content.get("version"), dict)
        and isinstance(content.get("gates"), list)
        and all(
            isinstance(gate, dict)
            and isinstance(gate.get("name"), str)
            and isinstance(gate.get("text"), str)
            and gate.get("status") in _ORDER
            for gate in content["gates"]
        )
    )
