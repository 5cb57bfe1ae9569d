"""Checks of disks, network and credentials."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from rsscale.diagnosis.check import Check
from rsscale.net.retry import why_no_answer
from rsscale.text.redaction import HEADER_VARIABLES, scrub

_GIB = 2**30
_LITTLE = 5 * _GIB
_SLOW_S = 0.2
_WITHIN_S = 10.0
# Variables by which clients of buckets and signers are given what they need; values are not shown.
_CREDENTIALS = {
    "AWS": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    "Google": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "Azure": ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_ID"),
    "Planetary Computer": ("PC_SDK_SUBSCRIPTION_KEY",),
}


def disk_checks(folder: Path) -> Iterator[Check]:
    """Room and speed of where runs are written, and of the folder for temporary files."""
    for name, place in (("disk", folder), ("temporary", Path(tempfile.gettempdir()))):
        yield _disk(name, place)


def _disk(name: str, place: Path) -> Check:
    try:
        free = shutil.disk_usage(place).free
        seconds = _seconds_to_write(place)
    except OSError as error:
        reason = error.strerror or str(error)
        return Check(
            name, "problem", f"{place} can't be written: {reason}", "choose another folder"
        )
    text = f"{free / _GIB:.0f} GiB free in {place}, {1000 * seconds:.0f} ms for a durable write"
    if free < _LITTLE:
        return Check(name, "note", text, "a country takes gigabytes, and temporary files some, too")
    if seconds > _SLOW_S:
        return Check(name, "note", text, "each tile ends with two of them: use larger tiles here")
    return Check(name, "ok", text)


def _seconds_to_write(place: Path) -> float:
    content = os.urandom(1 << 16)
    started = time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=place) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def network_checks(addresses: tuple[str, ...]) -> Iterator[Check]:
    """Proxies, certificates, and whether addresses answer; only those that are given are asked."""
    proxies = sorted({n.upper() for n in os.environ if n.lower() in ("http_proxy", "https_proxy")})
    bundle = next((n for n in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(n)), None)
    if bundle and not Path(os.environ[bundle]).exists():
        yield Check(
            "certificates", "problem", f"{bundle} names {os.environ[bundle]}, which is not there",
            f"unset {bundle}, or name a file of certificates",
        )  # fmt: skip
    text = f"proxies from {', '.join(proxies)}" if proxies else "no proxies are set"
    yield Check("network", "ok", f"{text}{f', certificates from {bundle}' if bundle else ''}")
    for address in addresses:
        yield _answers(address)


def _answers(address: str) -> Check:
    host = urlsplit(address).hostname or scrub(address)
    try:
        started = time.perf_counter()
        answer = requests.get(address, timeout=_WITHIN_S, stream=True)
        answer.close()
    except (requests.RequestException, ValueError) as error:
        return Check(
            host, "problem", f"does not answer: {why_no_answer(error)}",
            "check the address, the proxy and the certificates",
        )  # fmt: skip
    text = f"answers in {1000 * (time.perf_counter() - started):.0f} ms, HTTP {answer.status_code}"
    if answer.status_code in (401, 403):
        return Check(host, "problem", text, "it wants credentials: see docs/reading.md, sign")
    return Check(host, "ok" if answer.ok else "problem", text)


def credential_checks() -> Iterator[Check]:
    """Which credentials there are, by the names of their variables; values are never shown."""
    given = [
        f"{service} ({', '.join(variables)})"
        for service, names in _CREDENTIALS.items()
        if (variables := [name for name in names if os.environ.get(name)])
    ]
    netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if netrc.exists():
        given.append(str(netrc))
        if netrc.stat().st_mode & 0o077:
            yield Check("netrc", "note", f"others may read {netrc}", f"chmod 600 {netrc}")
    yield Check("credentials", "ok", "; ".join(given) or "none are set")
    for name in filter(None, os.environ.get(HEADER_VARIABLES, "").split(",")):
        if not os.environ.get(name.strip()):
            yield Check(
                "tokens", "problem", f"{HEADER_VARIABLES} allows {name.strip()}, which is not set",
                f"export {name.strip()}=…",
            )  # fmt: skip
