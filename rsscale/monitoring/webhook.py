"""Tell a webhook how a run has ended: done, failed, interrupted, refused."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from rsscale.errors import RecipeError, RsscaleError
from rsscale.net.retry import policy, why_no_answer
from rsscale.store.run_folder import RunFolder
from rsscale.text.redaction import scrub

WEBHOOK = "RSSCALE_WEBHOOK"
"""Environment variable with the address, which mostly is a secret: no command line shows it."""

_WITHIN_S = 20.0
_FAILURES_SENT = 20
_log = logging.getLogger("rsscale")


def webhook_address(address: str | None) -> str | None:
    """The address that was given, or that of the environment.

    Raises
    ------
    RecipeError
        When it is no address of HTTP.
    """
    address = address or os.environ.get(WEBHOOK) or None
    if address is None:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RecipeError(
            f"the webhook ({WEBHOOK}) is no address of HTTP (it begins with "
            f"{parts.scheme or 'nothing'}:); expected https://…"
        )
    return address


@dataclass
class Ending:
    """Where the run is whose end is posted; None until that is known."""

    folder: RunFolder | None = None


@contextmanager
def webhook_at_the_end(address: str | None, folder: RunFolder | None = None) -> Iterator[Ending]:
    """Post one JSON document when the ``with`` block ends, however it ends.

    It has ``text``, a sentence that chat services show, ``state`` (``done``, ``failed``,
    ``interrupted``, ``unfinished`` or ``refused``), ``exit_code``, ``run``, ``folder``, ``tiles``,
    ``failed`` (the first 20), ``error``, ``seconds``, ``host``, ``version`` and ``time``. A webhook
    that can't be reached is told in the log, and changes nothing else.

    Parameters
    ----------
    address : str, optional
        That of the environment when it is None; without one nothing is posted.
    folder : RunFolder, optional

    Yields
    ------
    Ending
        Its ``folder`` may be set once it is known.

    Raises
    ------
    RecipeError
        When the address is none of HTTP.
    """
    address, ending = webhook_address(address), Ending(folder)
    if address is None:
        yield ending
        return
    try:
        yield ending
    except BaseException as error:
        _post(address, ended_so(ending.folder, error))
        raise
    _post(address, ended_so(ending.folder, None))


def ended_so(folder: RunFolder | None, error: BaseException | None) -> dict[str, Any]:
    """What is posted of a run that ended so."""
    run = {} if folder is None else _state_of(folder)
    code = _exit_code(error)
    state = _STATES.get(code, "refused")
    tiles = run.get("tiles")
    message = "" if error is None else scrub(" ".join(str(error).split()) or type(error).__name__)
    url = None if folder is None else folder.url
    name = run.get("name") or (url or "").rstrip("/").rpartition("/")[2] or None
    counted = f", {tiles['done']:,} of {tiles['total']:,} tiles" if tiles else ""
    return {
        "text": f"rsscale run {name or ''}: {state}{counted}{f'. {message}' if message else ''}",
        "state": state,
        "exit_code": code,
        "run": name,
        "folder": url,
        "tiles": tiles,
        "failed": [
            {"tile": each.get("key"), "error": scrub(str(each.get("error")))}
            for each in run.get("failed", [])[:_FAILURES_SENT]
        ],
        "error": message or None,
        "seconds": run.get("seconds"),
        "host": socket.gethostname(),
        "version": version("rsscale"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


_STATES = {0: "done", 1: "failed", 75: "unfinished", 130: "interrupted"}


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if isinstance(error, RsscaleError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _state_of(folder: RunFolder) -> Mapping[str, Any]:
    """What ``run.json`` says, if it is there and can be read."""
    try:
        return folder.read_state()
    except (RsscaleError, OSError, ValueError):
        return {}


def _post(address: str, document: Mapping[str, Any]) -> None:
    """Post, with retries; the address, which may hold a key, is never written."""
    host = urlsplit(address).hostname
    try:
        with requests.Session() as session:
            session.mount("https://", HTTPAdapter(max_retries=policy()))
            session.mount("http://", HTTPAdapter(max_retries=policy()))
            answer = session.post(address, json=document, timeout=_WITHIN_S)
    except requests.RequestException as error:
        _log.warning("the webhook at %s was not reached: %s", host, why_no_answer(error))
        return
    if not answer.ok:
        _log.warning("the webhook at %s refused what was posted: HTTP %d", host, answer.status_code)
