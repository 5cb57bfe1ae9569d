"""Every error that rsscale raises on purpose.

::

    RsscaleError            one line: what was found, what was expected, what to do
    ├── RecipeError         a recipe, an argument or a file that a recipe names
    ├── AreaError           an area that cannot be mapped
    ├── CatalogError        a catalogue that is not there, or has nothing to give
    ├── ItemError           a STAC item that cannot be used
    ├── BandError           a band that no item, or not this item, has
    ├── ReadError           an asset that could not be read
    ├── MissingExtraError   a library that is only needed for this is not installed
    ├── FunctionError       a user's function that raised, and on which tile
    ├── ModelError          a model that cannot be opened, or does not fit its inputs
    ├── RunFolderError      a run folder that cannot be used for this run
    │   ├── FolderHeldError  another process works on the folder
    │   ├── StorageError    what was to be written could not be: a full disk, a bucket's refusal
    │   └── SupersededError      a newer run works on the folder; this one's work is not wanted
    ├── TilesFailedError         a run that ended, but not for all of its tiles
    └── MoreToDoError            a process whose time is over, of a run that has more to do

``exit_code`` is what the command line returns: 2 when the user's recipe, model or
arguments are wrong, 1 when the work itself failed and can be resumed, 75 when time was over.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

from rsscale.text.redaction import scrub


class RsscaleError(Exception):
    """Base of all errors that a person can act on. The message is one line, without secrets."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str = "") -> None:
        # Here and nowhere else: whatever a message quotes, it is free of secrets from its birth.
        super().__init__(scrub(str(message)))


class RecipeError(RsscaleError):
    """A recipe, an argument, or a file that a recipe names is wrong."""


class AreaError(RsscaleError):
    """An area of interest is empty, not valid, or outside what can be mapped."""


class CatalogError(RsscaleError):
    """A catalogue cannot be reached or read, or has nothing for this search."""


class ItemError(RsscaleError):
    """A STAC item lacks what is needed to use it; the message names the item."""


class BandError(RsscaleError):
    """A band is asked for that is not there; the message names those that are."""


class ReadError(RsscaleError):
    """An asset could not be read; the message names item, asset and URL.

    Attributes
    ----------
    asset : str
        The asset alone, as the message names it; empty where it is not known.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, asset: str = "") -> None:
        super().__init__(message)
        self.asset = scrub(asset)


class MissingExtraError(RsscaleError):
    """A library that only some uses need is not installed; the message names the extra."""


class FunctionError(RsscaleError):
    """A user's function raised; the message names it, the tile, and what it raised."""

    exit_code: ClassVar[int] = 1


class ModelError(RsscaleError):
    """A model cannot be opened, or its inputs do not match the cube's."""


class RunFolderError(RsscaleError):
    """A run folder belongs to another recipe, is not writable, or is damaged."""


class FolderHeldError(RunFolderError):
    """Another process works on the folder."""


class StorageError(RunFolderError):
    """A file of a run could not be written; what is done is kept."""

    exit_code: ClassVar[int] = 1


class SupersededError(RunFolderError):
    """A newer run works on this folder; what an older one still computes is not written."""


class TilesFailedError(RsscaleError):
    """A run ended and some tiles failed; they are listed, and can be resumed."""

    exit_code: ClassVar[int] = 1


class MoreToDoError(RsscaleError):
    """A process has come to the end of its time and the run is not done: start it again."""

    exit_code: ClassVar[int] = 75  # EX_TEMPFAIL of sysexits.h: try again


def missing_extra(use: str, extra: str) -> MissingExtraError:
    """Make the error for a use of a library that is not installed.

    Parameters
    ----------
    use : str
        What needs the library, the subject of the message.
    extra : str
        The extra of rsscale that installs it.
    """
    return MissingExtraError(
        f"{use} needs a library that is not installed; pip install 'rsscale[{extra}]'"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to a message: ``"; did you mean 'red'?"``, or nothing.

    Parameters
    ----------
    name : str
        What was found.
    known : iterable of str
        What would have been accepted.
    """
    match = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""
