"""JSON files of a run folder that other commands wrote; a report shows those that are there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from rsscale.documents import DocumentError, kind_of, read_json
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import step_version

REPORT = "report.html"
ACCURACY, AREAS, GATES = "accuracy.json", "areas.json", "gates.json"
OBJECTS_ACCURACY = "objects-accuracy.json"
_FORMAT = 1
_MADE_OF = re.compile(rb'<meta name="rsscale:made-of" content="([0-9a-f]+)">')
_HEAD = 2**16  # bytes of a page that its head lies in
_T = TypeVar("_T")


def optional_document(
    folder: RunFolder, name: str, notes: list[str], *, has_format: bool = True
) -> Mapping[str, Any] | None:
    """The content of a JSON file of a run folder, or None where there is none that can be read.

    Parameters
    ----------
    folder : RunFolder
    name : str
    notes : list of str
        Gets a line about a file that is there and can't be shown.
    has_format : bool
        Whether the file says by ``format`` how it is to be read.
    """
    try:
        content = read_json(folder.storage.read(name))
    except FileNotFoundError:
        return None
    except DocumentError as error:
        notes.append(f"{name} is damaged and not shown: {error}")
        return None
    if not isinstance(content, Mapping):
        notes.append(f"{name} is {kind_of(content)} instead of an object, and not shown")
        return None
    if has_format and content.get("format") != _FORMAT:
        notes.append(
            f"{name} has the format {content.get('format')!r}, this rsscale reads {_FORMAT}; "
            "it is not shown"
        )
        return None
    return content


def is_stale(version: Any, today: Mapping[str, str]) -> bool:
    """Whether a document describes another version of the steps than the run has stored.

    Parameters
    ----------
    version : str, mapping of step to str, or None
        What the document says: of the map, or of each step; None is not known.
    today : mapping of step to str
        Of the run.
    """
    if isinstance(version, Mapping):
        return any(today.get(str(step), said) != said for step, said in version.items())
    return version is not None and version not in today.values()


def parsed(name: str, notes: list[str], make: Callable[[], _T], otherwise: _T) -> _T:
    """What is made of a document; where it has another form than its command writes, a note."""
    try:
        return make()
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
        notes.append(
            f"{name} has another form than this rsscale writes, and is not all shown ({problem})"
        )
        return otherwise


def content_hash(folder: RunFolder, steps: Iterable[str]) -> str:
    """Hash of what a report shows: what its steps have stored, and what was measured of it.

    A report holds its own, so that it is known when the run has changed since.
    """
    total = hashlib.sha256()
    for step in sorted(steps):
        total.update(f"{step} {step_version(folder, step)}\n".encode())
    for name in (ACCURACY, AREAS, GATES, OBJECTS_ACCURACY):
        try:
            content = folder.storage.read(name)
        except FileNotFoundError:
            continue
        total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def is_outdated_report(folder: RunFolder, steps: Iterable[str]) -> bool:
    """Whether the run folder has a report of another state of the run; not of a page of others."""
    try:
        head = folder.storage.read(REPORT)[:_HEAD]
    except FileNotFoundError:
        return False
    made_of = _MADE_OF.search(head)
    return made_of is not None and made_of[1].decode() != content_hash(folder, steps)
