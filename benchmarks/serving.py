"""Files over HTTP on loopback, by nginx, which honours Range requests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VSICURL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "CPL_VSIL_CURL_USE_HEAD": "NO",
}
"""What GDAL's documentation recommends for reading COGs through its own HTTP client."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a folder's files while the block runs."""
    place = f"root {folder.absolute()};"
    with (
        tempfile.TemporaryDirectory() as scratch,
        nginx(Path(scratch), "access_log off;", place) as port,
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def nginx(scratch: Path, log: str, places: str) -> Iterator[int]:
    """Run nginx and give its port.

    Parameters
    ----------
    scratch : Path
        For what it writes.
    log, places : str
        What its configuration says of the log, and of what lies where.
    """
    if shutil.which("nginx") is None:
        raise SystemExit("needs nginx (apt-get install nginx-light)")
    port = free_port()
    config = scratch / "nginx.conf"
    # Started by root, its worker would be another user, who can't look into root's folders.
    user = "user root; " if os.geteuid() == 0 else ""
    config.write_text(
        f"""{user}daemon off; pid {scratch}/pid; error_log {scratch}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  {log} sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {scratch}/a; proxy_temp_path {scratch}/b; fastcgi_temp_path {scratch}/c;
  uwsgi_temp_path {scratch}/d; scgi_temp_path {scratch}/e;
  server {{ listen 127.0.0.1:{port}; {places} }}
}}"""
    )
    command = ["nginx", "-p", str(scratch), "-e", f"{scratch}/error.log", "-c", str(config)]
    process = subprocess.Popen(command)  # noqa: S603
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("nginx did not start")
