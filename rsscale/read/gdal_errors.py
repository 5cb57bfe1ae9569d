"""Collect the errors that GDAL reports inside a read, also those that a driver then ignores.

GDAL's drivers report errors by a message, and mostly by their result too. Some give pixels all the
same: a VRT whose source could not be opened gives nodata, once the source was looked for. rasterio
raises what comes with a bad result; the other messages it only logs, under the name
``rasterio._env``. So a read listens to that logger, and fails when a message was an error.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsscale.errors import ReadError

# One hears what comes inside a call that rasterio checks, one the rest.
_LOGGERS = ("rasterio._err", "rasterio._env")
# How rasterio words an error of GDAL, which it logs as information: number and text are arguments.
_SIGNALLED = "GDAL signalled an error"
# A position that a projection does not know: a warp has nodata there, as it should.
_PROJECTION = re.compile(
    r"^(PROJ: |Too many points |Reprojection failed|Point outside |Full reprojection failed|"
    r"Unable to compute |Cannot (re)?project|.*(latitude|longitude) exceeded limits)",
    re.IGNORECASE,
)
# Warnings of decoders that fill in pixels of their own.
_DAMAGE = re.compile(r"corrupt|premature|truncated|unexpected end|checksum|\bCRC\b", re.IGNORECASE)


class ReportedErrors:
    """The messages of one read.

    Attributes
    ----------
    messages : list of str
        In the order in which they came.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    def check(self) -> None:
        """Raise the first message.

        Raises
        ------
        ReadError
        """
        if self.messages:
            raise ReadError(f"GDAL reported: {self.messages[0]}")


_here = threading.local()
# Of all threads: what a thread of GDAL's own reports may belong to any of them.
_listening: set[ReportedErrors] = set()


@contextmanager
def reported_errors() -> Iterator[ReportedErrors]:
    """Listen to GDAL's errors for the length of a ``with`` block, in this thread and GDAL's own."""
    _listen()
    outer, errors = getattr(_here, "errors", None), ReportedErrors()
    _here.errors = errors
    _listening.add(errors)
    try:
        yield errors
    finally:
        _listening.discard(errors)
        _here.errors = outer


class _GdalLogger(logging.Logger):
    """rasterio's logger of GDAL's messages, which hears errors whatever the settings of logging.

    What it hears besides is logged as the settings say, and no more.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- logging's
        return level >= logging.INFO or super().isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO:
            _note(record)
        if super().isEnabledFor(record.levelno):
            super().handle(record)


def _note(record: logging.LogRecord) -> None:
    message = _error_of(record)
    if message is None:
        return
    mine = getattr(_here, "errors", None)
    if mine is not None:
        mine.messages.append(message)
    elif str(record.threadName).startswith("Dummy-"):  # not one that Python started
        for errors in tuple(_listening):
            errors.messages.append(message)


def _error_of(record: logging.LogRecord) -> str | None:
    """The text of an error; ``None`` for other messages and those that mean no harm."""
    arguments: Any = record.args
    text = str(arguments[-1]) if isinstance(arguments, tuple) and arguments else str(record.msg)
    is_error = str(record.msg).startswith(_SIGNALLED) or record.levelno >= logging.ERROR
    is_damage = record.levelno == logging.WARNING and _DAMAGE.search(text)
    if not (is_error or is_damage) or _PROJECTION.search(text):
        return None
    return text


def _listen() -> None:
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if type(logger) is not _GdalLogger:
            logger.__class__ = _GdalLogger
