"""What a run asks of a server, and how often it decodes the same block.

    python -m benchmarks.requests [--quick] [--json FILE]

COGs are served by nginx on loopback behind a proxy that delays each request by 30 ms, and
counted from nginx's log. Contenders: `rsscale.load`, and rasterio through GDAL's /vsicurl with
the options that GDAL's documentation recommends for COGs. Their pixels are compared first.

The ideal is one request for a file's header and one for each run of bytes that a block of the
cube needs. Second table: decoded blocks over unique blocks of a whole run, by tile size.
"""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.env import set_gdal_config
from rasterio.transform import from_origin
from rasterio.windows import Window

import rsscale as rs
from benchmarks.options import parser_of
from benchmarks.serving import VSICURL, free_port, nginx
from rsscale.read import file_pool as files

BLOCK = 512
CRS, TRANSFORM = "EPSG:32631", from_origin(0, 5_120_000, 10, 10)
LATENCY_S = 0.030


def main() -> None:
    parser = parser_of(__doc__, quick="a sixteenth of the pixels")
    options = parser.parse_args()
    size = 4096 if options.quick else 16384
    with tempfile.TemporaryDirectory() as scratch, logging_server(Path(scratch)) as server:
        write_cog(Path(scratch) / "served.tif", size)
        rows = requests_table(server) + blocks_table(server, size)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


# --- requests


def requests_table(server: Server) -> list[dict[str, Any]]:
    """A tile of 2048 px and its halo, 6 files, from two threads."""
    window = Window(1024 - 64, 1024 - 64, 2048 + 128, 2048 + 128)
    urls = [f"{server.slow}/requests-{n}/served.tif" for n in range(6)]
    contenders: dict[str, Callable[[list[str]], Any]] = {
        "rsscale.load": lambda names: by_rsscale(names, window),
        "rasterio /vsicurl": lambda names: by_vsicurl(names, window),
    }
    results = {name: read(urls) for name, read in contenders.items()}
    assert np.array_equal(*results.values()), "the contenders' pixels differ"
    ideal = len(urls) * (1 + ideal_runs(server.file, window))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    counts: dict[str, int] = {}
    for repeat in range(5):
        for name, read in contenders.items():
            fresh = [url.replace("requests-", f"r{repeat}-{name[:3]}-") for url in urls]
            before = server.count()
            started = time.perf_counter()
            read(fresh)
            seconds[name].append(time.perf_counter() - started)
            counts[name] = server.count() - before
    return [
        {
            "requests of": name,
            "counted": counts[name],
            "over ideal": round(counts[name] / ideal, 2),
            "seconds": round(statistics.median(spent), 2),
            "spread": round(max(spent) - min(spent), 2),
        }
        for name, spent in seconds.items()
    ]


def by_rsscale(urls: list[str], window: Window) -> Any:
    cube = rs.load(items(urls), geobox(window), ["b0"])
    return cube.compute(scheduler="threads", num_workers=2).values[:, 0]


def by_vsicurl(urls: list[str], window: Window) -> Any:
    def read(url: str) -> Any:
        with rasterio.Env(**VSICURL), rasterio.open(f"/vsicurl/{url}") as dataset:
            return dataset.read(1, window=window)

    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(read, urls)))


def ideal_runs(path: Path, window: Window) -> int:
    """Runs of bytes that the chunks of a cube over a window need of one file."""
    lazy = rs.load(items([str(path)]), geobox(window), ["b0"])
    spans = [np.cumsum([0, *chunks]) for chunks in lazy.chunks[-2:]]
    offsets = block_offsets(path)
    total, row0, col0 = 0, int(window.row_off), int(window.col_off)
    for top, bottom in pairwise(spans[0]):
        for left, right in pairwise(spans[1]):
            rows = range((row0 + top) // BLOCK, (row0 + bottom - 1) // BLOCK + 1)
            cols = range((col0 + left) // BLOCK, (col0 + right - 1) // BLOCK + 1)
            pieces = sorted(offsets[r, c] for r in rows for c in cols)
            gaps = [b[0] - sum(a) for a, b in pairwise(pieces)]
            total += 1 + sum(gap > 16384 for gap in gaps)
    return total


# --- blocks


def blocks_table(server: Server, size: int) -> list[dict[str, Any]]:
    """A run over all of a file, 3 dates and 4 bands, for several tile sizes.

    GDAL's cache of blocks is made ten times smaller than rsscale's, as there are ten times
    fewer files than in a run of 12 dates and 10 bands.
    """
    os.environ["GDAL_CACHEMAX"] = str(files.CACHE_BYTES // 10)  # so that rsscale leaves it
    set_gdal_config("GDAL_CACHEMAX", files.CACHE_BYTES // 10)
    halo, rows = 64, []
    offsets = {start: key for key, (start, _) in block_offsets(server.file).items()}
    sizes = dict(block_offsets(server.file).values())
    for tile in (size // 8, size // 4, size // 2):
        names = [f"{server.fast}/tile{tile}-{n}/served.tif" for n in range(12)]
        before = len(server.lines())
        for top in range(0, size, tile):
            for left in range(0, size, tile):
                part = Window(left - halo, top - halo, tile + 2 * halo, tile + 2 * halo)
                cube = rs.load(items(names, bands=4), geobox(part), [f"b{n}" for n in range(4)])
                cube.max(("y", "x")).compute(scheduler="threads", num_workers=2)
        decoded: Counter[tuple[str, tuple[int, int]]] = Counter()
        for path, first, last in server.lines()[before:]:
            for start, key in offsets.items():
                if first <= start and start + sizes[start] <= last + 1:
                    decoded[path, key] += 1
        n, per = size // tile, tile // BLOCK
        rows.append(
            {
                "tile px": tile,
                "tiles": n * n,
                "decoded over unique": round(decoded.total() / len(decoded), 3),
                "in an endless run without any sharing": round(((per + 2) / per) ** 2, 3),
            }
        )
    return rows


def block_offsets(path: Path) -> dict[tuple[int, int], tuple[int, int]]:
    """(offset, size) in bytes of each block of the full resolution."""
    offsets = {}
    with rasterio.open(path) as dataset:
        for (row, col), _ in dataset.block_windows(1):
            tag = f"{col}_{row}"
            start = dataset.get_tag_item(f"BLOCK_OFFSET_{tag}", "TIFF", bidx=1)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{tag}", "TIFF", bidx=1)
            offsets[row, col] = int(start), int(length)
    return offsets


# --- files and servers


def write_cog(path: Path, size: int) -> None:
    """A COG whose blocks differ, and compress well."""
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "tiled": True}
    profile |= {"blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "nodata": 0}
    plain = path.with_name("plain.tif")
    rng = np.random.default_rng(0)
    with rasterio.open(
        plain, "w", width=size, height=size, crs=CRS, transform=TRANSFORM, **profile
    ) as target:
        for _, window in target.block_windows(1):
            block = rng.integers(1000, 1016, (window.height // 8, window.width // 8))
            target.write(np.kron(block, np.ones((8, 8))).astype("uint16"), 1, window=window)
    rasterio.shutil.copy(plain, path, driver="COG", compress="deflate", overviews="NONE")
    plain.unlink()


def items(urls: list[str], bands: int = 1) -> list[pystac.Item]:
    """One item a date; each URL is a band of it."""
    made = []
    for number in range(0, len(urls), bands):
        when = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=number)
        item = pystac.Item(f"i{number}", None, None, when, {"proj:code": CRS})
        for band, url in enumerate(urls[number : number + bands]):
            fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
            item.add_asset(f"b{band}", pystac.Asset(url, extra_fields=fields))
        made.append(item)
    return made


def geobox(window: Window) -> GeoBox:
    left, top = TRANSFORM.c + window.col_off * 10, TRANSFORM.f - window.row_off * 10
    return GeoBox((window.height, window.width), from_origin(left, top, 10, 10), CRS)


@dataclass
class Server:
    """nginx, directly and behind the delay, and what it logged."""

    folder: Path
    fast: str
    slow: str
    file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.folder / "served.tif"

    def lines(self) -> list[tuple[str, int, int]]:
        """(path, first byte, last byte) of each request that was answered."""
        time.sleep(0.2)  # nginx writes its log after the answer
        requests = re.findall(r"^(\S+) bytes=(\d+)-(\d+)$", self.log.read_text(), re.MULTILINE)
        return [(path, int(first), int(last)) for path, first, last in requests]

    def count(self) -> int:
        """How many requests came, of any kind."""
        time.sleep(0.2)
        return len(self.log.read_text().splitlines())

    @property
    def log(self) -> Path:
        """One line a request."""
        return self.folder / "access.log"


@contextmanager
def logging_server(folder: Path) -> Iterator[Server]:
    """Nginx with a log; any name in front of a file's is another file to its readers."""
    folder.chmod(0o755)  # nginx's worker is another user
    (folder / "access.log").touch()
    log = f"log_format ranges '$uri $http_range'; access_log {folder}/access.log ranges;"
    place = f"location ~ ^/[^/]+/served.tif$ {{ alias {folder}/served.tif; }}"
    with nginx(folder, log, place) as port, delayed(port) as slow:
        yield Server(folder, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{slow}")


@contextmanager
def delayed(port: int) -> Iterator[int]:
    """A proxy on another port that holds back what clients send by the latency."""
    own = free_port()
    listener = socket.create_server(("127.0.0.1", own), backlog=128)

    def pump(source: socket.socket, target: socket.socket, wait: float) -> None:
        with suppress(OSError):  # either side may hang up
            while data := source.recv(1 << 16):
                time.sleep(wait)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                upstream = socket.create_connection(("127.0.0.1", port))
                for pair in ((client, upstream, LATENCY_S), (upstream, client, 0)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield own
    listener.close()


if __name__ == "__main__":
    main()
