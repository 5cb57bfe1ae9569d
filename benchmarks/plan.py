"""What `plan --pilot` says beside what the run takes: bytes, memory, time.

    python -m benchmarks.plan [--settings N ...] [--json FILE]

Files on loopback are counted by the server, which honours Range: bodies of all answers. Those of
the disk are what the process reads by system calls while it runs (rchar), after what it imports
was read. The archive is that of :mod:`benchmarks.memory`; plan and run are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.memory import write_case
from benchmarks.options import parser_of


class Setting(NamedTuple):
    """What is mapped, from where, by whom."""

    tile: int
    dates: int
    served: bool
    cluster: str
    pilot: int


SETTINGS = (
    Setting(1024, 5, served=True, cluster="local:2", pilot=4),
    Setting(4096, 20, served=True, cluster="local:1", pilot=2),
    Setting(1024, 20, served=False, cluster="process", pilot=4),
    Setting(4096, 5, served=False, cluster="process", pilot=2),
)
_BYTES_WITHIN, _MEMORY_WITHIN = 0.20, 0.25


def main() -> None:
    options = _options()
    if options.child:
        _CHILDREN[options.child[0]](Path(options.child[1]))
        return
    rows = []
    for number in options.settings:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            rows.append(measure(Path(folder), SETTINGS[number]))
        print(_line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--settings", type=int, nargs="+", default=list(range(len(SETTINGS))), help="from 0"
    )
    parser.add_argument("--scratch", type=Path, help="where files are written")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _line(row: dict[str, Any]) -> str:
    planned, run = row["plan"], row["run"]
    nbytes, memory = planned["bytes"] / run["bytes"], planned["memory"] / run["memory"]
    low, high = planned["seconds"][1:]
    met = (
        abs(nbytes - 1) <= _BYTES_WITHIN
        and 1 <= memory <= 1 + _MEMORY_WITHIN
        and low <= run["seconds"] <= high
    )
    where = "HTTP" if row["served"] else "disk"
    return (
        f"tile {row['tile']:5} px  {row['dates']:2} dates  {where}  {row['cluster']:8} "
        f"bytes {planned['bytes'] / 2**20:7.1f} / {run['bytes'] / 2**20:7.1f} MiB {nbytes:5.2f} x  "
        f"memory {planned['memory'] / 2**30:5.2f} / {run['memory'] / 2**30:5.2f} GiB "
        f"{memory:5.2f} x  time {low:.0f} to {high:.0f} / {run['seconds']:.0f} s  "
        f"{'met' if met else 'MISSED'}"
    )


def measure(folder: Path, setting: Setting) -> dict[str, Any]:
    """What `plan` says, and what a run takes."""
    case, cluster = folder / "case", setting.cluster
    with counting_server(case / "scenes") as server:
        root = server.address if setting.served else ""
        write_case(case, setting.tile, setting.dates, root=root)
        request = {"client": None if cluster == "process" else cluster, "pilot": setting.pilot}
        (folder / "request.json").write_text(json.dumps(request))
        planned = _child("plan", folder)
        before = server.sent
        run = _child("run", folder)
        if setting.served:
            run["bytes"] = server.sent - before
    return {**setting._asdict(), "plan": planned, "run": run}


def _child(child: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.plan", "--child", child, str(folder)]
    subprocess.run(command, check=True)  # noqa: S603
    result: dict[str, Any] = json.loads((folder / f"{child}.json").read_text())
    return result


def _plan(folder: Path) -> None:
    import rsscale as rs

    request = json.loads((folder / "request.json").read_text())
    plan = rs.plan(folder / "case" / "recipe.json", threads=2, **request)
    print(plan, flush=True)
    estimate = {"bytes": plan.read_bytes, "memory": plan.memory, "seconds": plan.seconds}
    (folder / "plan.json").write_text(json.dumps(estimate))


def _run(folder: Path) -> None:
    import rsscale as rs
    from rsscale.cluster.allocator import keep_memory

    request = json.loads((folder / "request.json").read_text())
    recipe, out = folder / "case" / "recipe.json", folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    keep_memory()
    started = time.perf_counter()
    rs.plan(recipe, threads=2)  # imports what a run imports, and does what it does first
    before = _read_bytes()
    rs.run(recipe, out, request["client"], threads=2)
    seconds = time.perf_counter() - started
    state = json.loads((out / "run.json").read_text())
    measured = {
        "bytes": _read_bytes() - before,
        "memory": state["peak_rss_bytes"],
        "seconds": seconds,
    }
    (folder / "run.json").write_text(json.dumps(measured))


def _read_bytes() -> int:
    counter = re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())
    return int(counter[1]) if counter else 0


_CHILDREN = {"plan": _plan, "run": _run}


class _Server(ThreadingHTTPServer):
    """Serves one folder and counts what it sends."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.sent, self.lock = folder, 0, threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.server.folder / self.path.rpartition("/")[2]
        total = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]), total - 1) if asked and asked[2] else total - 1
        with path.open("rb") as file:
            file.seek(first)
            body = file.read(last - first + 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)
        with self.server.lock:
            self.server.sent += len(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def counting_server(folder: Path) -> Iterator[_Server]:
    """A server of a folder's files on loopback while the block runs."""
    with _Server(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


if __name__ == "__main__":
    main()
