"""Log lines as JSON, one object a line on stderr, for collectors of logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from rsscale.text.redaction import scrub

_is_on = False


def is_json() -> bool:
    """Whether this process logs as JSON."""
    return _is_on


def log_as_json(enabled: bool) -> None:
    """Switch logging as JSON on or off for this process (``--log-format json``).

    Warnings of all libraries and messages of all loggers become such lines, too.
    """
    global _is_on  # noqa: PLW0603 -- one switch for the process, like logging's
    _is_on = enabled
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(handler)
    if enabled:
        root.addHandler(_Handler())
    logging.captureWarnings(enabled)


def write_line(level: str, event: str, message: str = "", **fields: Any) -> None:
    """Write one line to stderr: ``time`` (UTC), ``level``, ``event``, ``message`` and fields.

    Parameters
    ----------
    level : str
        ``"info"``, ``"warning"`` or ``"error"``.
    event : str
        What happened, in one word: ``"progress"``, ``"message"``, ``"log"``, ``"error"``.
    message : str
        For people; secrets are taken out.
    **fields
        Further ones, of JSON's types; those that are None are left out.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line: dict[str, Any] = {"time": now, "level": level, "event": event}
    if message:
        line["message"] = scrub(message)
    line |= {name: value for name, value in fields.items() if value is not None}
    print(json.dumps(line, ensure_ascii=False), file=sys.stderr, flush=True)


class _Handler(logging.Handler):
    """Writes records of loggers, from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        write_line(level, "log", record.getMessage(), logger=record.name)
