"""Run a real STAC API server on this machine, for the demo and the tests.

`rustac serve <https://stac-utils.github.io/rustac/>`_ with its memory backend. It pages,
and filters by collection, id, area and date; it says that it has no query extension, and
returns no items for a request that has one.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from rsscale.errors import CatalogError, missing_extra

_HOST = "127.0.0.1"
_START_S = 30.0
_STOP_S = 5.0
_LAST_LINES = 5
# Another program may take the free port before the server does.
_TRIES = 2


@contextmanager
def serve_catalog(items_json: str | Path) -> Iterator[str]:
    """Serve a GeoJSON FeatureCollection of items as a STAC API while the ``with`` block runs.

    Collections are made from the items. The server ends with the block, also after an
    exception or Ctrl-C.

    Parameters
    ----------
    items_json : str or Path
        The item collection. Asset hrefs in it are absolute: the server has no folder.

    Yields
    ------
    str
        The API's address, on a free port of the loopback interface.

    Raises
    ------
    CatalogError
        The file is not there, or the server does not answer within 30 s; the message holds
        its last lines.
    MissingExtraError
        The server program is neither beside this Python nor on the PATH.
    """
    items_json = Path(items_json)
    if not items_json.is_file():
        raise CatalogError(f"items {str(items_json)!r} are not there; nothing to serve")
    program = find_program()
    with tempfile.TemporaryFile() as output:
        process, url = _start(program, items_json, output)
        try:
            yield url
        finally:
            _stop(process)


def find_program() -> str:
    """Path of ``rustac``: beside this Python, as pip installs it, or on the PATH."""
    program = shutil.which("rustac", path=str(Path(sys.executable).parent)) or shutil.which(
        "rustac"
    )
    if program is None:
        raise missing_extra("the demo's STAC server, rustac,", "demo")
    return program


def _start(
    program: str, items_json: Path, output: IO[bytes]
) -> tuple[subprocess.Popen[bytes], str]:
    for _ in range(_TRIES):
        port = _free_port()
        process = subprocess.Popen(  # noqa: S603 -- no shell, and the program is ours
            [
                program,
                "serve",
                str(items_json),
                "--create-collections",
                "--addr",
                f"{_HOST}:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            if _wait(process, port):
                return process, f"http://{_HOST}:{port}"
        except BaseException:  # Ctrl-C while waiting must not leave a server behind
            _stop(process)
            raise
        ended = process.poll() is not None
        _stop(process)
        if not ended:
            break
    raise CatalogError(
        f"the STAC server for {str(items_json)!r} did not start within {_START_S:g} s; "
        f"it said: {_last_lines(output) or 'nothing'}"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server answers before its time is up or it ends."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(_HOST, port, timeout=1.0)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == http.HTTPStatus.OK and _listens(process, port):
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return False


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it is this server that has the port, not a program that took it before."""
    try:
        server = psutil.Process(process.pid)
        sockets = getattr(server, "net_connections", None) or server.connections  # psutil < 6
        return any(socket.laddr.port == port for socket in sockets(kind="tcp"))
    except psutil.NoSuchProcess:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_lines(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())
