"""Keep paths of this machine and secrets out of what is published."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from rsscale.store.run_folder import KEPT
from rsscale.text.redaction import scrub, strip_document, strip_secrets

# Where people and clusters keep files, whether or not this machine has such a folder.
_TOPS = {
    "Users", "Volumes", "data", "eodata", "home", "lustre", "media", "mnt", "nfs", "opt", "private",
    "projects", "root", "scratch", "srv", "tmp", "usr", "var", "work",
}  # fmt: skip
_PATH = re.compile(
    r"(?:file://)?(?<![\w:/.<~])/(?P<top>[\w.-]+)(?:/[^\s/'\"<>|:;,()]+)*/?"
    r"|file://[^\s'\"<>]+|(?<![A-Za-z])[A-Za-z]:\\[^\s'\"<>|]+"
)
_ADDRESS = re.compile(r"((?!file:)[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`|\\]+)")


def without_local_paths(text: str) -> str:
    """A text with the last part only of each path of this machine: ``/home/me/a.tif`` is ``a.tif``.

    Paths are those below a folder of this machine's root, or of its usual names; addresses with a
    scheme stay as they are.
    """
    return _PATH.sub(_last_part, text) if "/" in text or "\\" in text else text


def publishable(value: Any) -> Any:
    """A copy of a JSON value without paths of this machine, tokens, and fields of credentials."""
    return _each_text(strip_document(value), without_local_paths)


def publishable_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """A run's recipe as `publishable` has it, with the names of files that the run keeps."""
    document: dict[str, Any] = publishable(_each_text(recipe, _name_of_copy))
    return document


def _name_of_copy(text: str) -> str:
    copy = KEPT.fullmatch(text)
    return (copy["name"] if copy else None) or text


def publishable_text(text: str) -> str:
    """A text file, such as a page, without paths of this machine and secrets.

    Addresses keep what finds a file, as in documents.
    """
    parts = _ADDRESS.split(text)  # text, address, text, …
    clean = [strip_secrets(part) if n % 2 else scrub(part) for n, part in enumerate(parts)]
    return without_local_paths("".join(clean))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_text(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(inner, change) for inner in value]
    return value


def _last_part(match: re.Match[str]) -> str:
    last, top = match[0], match["top"]
    if top is not None and top not in _TOPS and top not in _tops_here():
        return last
    parts = [part for part in re.split(r"[/\\]", last.removeprefix("file://")) if part]
    return parts[-1] if parts else ""


@cache
def _tops_here() -> frozenset[str]:
    return frozenset(path.name for path in Path("/").iterdir() if path.is_dir())
