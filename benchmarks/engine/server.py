"""The scenes over HTTP on loopback, by nginx."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a folder's files while the block runs; Range requests are honoured."""
    if shutil.which("nginx") is None:
        raise SystemExit("needs nginx (apt-get install nginx-light)")
    with tempfile.TemporaryDirectory() as scratch:
        port = _free_port()
        config = Path(scratch) / "nginx.conf"
        config.write_text(
            f"""daemon off; pid {scratch}/pid; error_log {scratch}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {scratch}/a; proxy_temp_path {scratch}/b; fastcgi_temp_path {scratch}/c;
  uwsgi_temp_path {scratch}/d; scgi_temp_path {scratch}/e;
  server {{ listen 127.0.0.1:{port}; root {folder.absolute()}; }}
}}"""
        )
        for path in (Path(scratch), folder, *folder.absolute().parents[:1]):
            path.chmod(0o755)  # nginx's worker is another user
        command = ["nginx", "-p", scratch, "-e", f"{scratch}/error.log", "-c", str(config)]
        process = subprocess.Popen(command)  # noqa: S603
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
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
