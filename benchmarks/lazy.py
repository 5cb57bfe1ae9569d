"""A lazy map of 8192 x 8192 px on a Dask cluster of two processes: what the client needs for it.

    python -m benchmarks.lazy [--quick] [--json FILE]

A composite is made block by block on the workers, a small U-Net maps it, and ``.to_zarr`` writes
the map from the workers. The client, with the cluster's scheduler in it, is a process of its own;
its memory is the peak that Linux keeps (VmHWM), libraries included. It is given the model as a
``ModelFolder``, for which it needs no torch, and for comparison opened. Layers are compared with
the eager call's on parts before anything is reported.
"""

from __future__ import annotations

import json
import multiprocessing
import pickle
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.geo.lattice import PixelBox

BANDS, WINDOWS = ("red", "nir", "swir"), ("spring", "summer")
GRID = rs.Grid("EPSG:32631", 10.0)
CORNER = (-1000, 300)  # off the lattice
CHUNK = 1024


def main() -> None:
    parser = parser_of(__doc__, quick="a quarter of the width")
    options = parser.parse_args()
    size = 2048 if options.quick else 8192
    cases = [(size // 4, False), (size // 4, True), (size, False)]
    with tempfile.TemporaryDirectory() as scratch:
        model = f"{scratch}/model"
        alone(write_model, model)
        rows = []
        for number, (width, with_torch) in enumerate(cases):
            out = f"{scratch}/{number}.zarr"
            row = alone(write_map, model, out, width, with_torch)
            row["parts_equal"] = alone(equal_parts, model, out, width)
            rows.append(row)
            show(row, header=number == 0)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if not all(row["parts_equal"] for row in rows):
        sys.exit("a part of the lazy map is not the eager call's")


def show(row: dict[str, Any], *, header: bool) -> None:
    columns = {
        "px across": f"{row['size']}",
        "model": row["model"],
        "blocks": f"{row['blocks']}",
        "tasks": f"{row['tasks']}",
        "graph kB": f"{row['graph_bytes'] / 1e3:.0f}",
        "build s": f"{row['build_s']:.2f}",
        "write s": f"{row['write_s']:.1f}",
        "Mpx/s": f"{row['size'] ** 2 / row['write_s'] / 1e6:.2f}",
        "client MB": f"{row['client_bytes'] / 1e6:.0f}",
        "worker MB": f"{max(row['worker_bytes']) / 1e6:.0f}",
        "opened": f"{row['openings']}",
        "equal": "yes" if row["parts_equal"] else "NO",
    }
    if header:
        print("  ".join(f"{name:>11}" for name in columns))
    print("  ".join(f"{value:>11}" for value in columns.values()), flush=True)


def alone(function: Any, *arguments: Any) -> Any:
    """The result of a function in a process of its own."""
    # Not Pool: its processes are daemons, which may not start workers.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__} failed, see above") from None
    finally:
        process.join()


def _answer(pipe: Any, function: Any, arguments: tuple[Any, ...]) -> None:
    pipe.send(function(*arguments))


def box(size: int) -> PixelBox:
    row, col = CORNER
    return PixelBox(row, col, row + size, col + size)


def lazy_composite(size: int) -> xr.DataArray:
    """A composite whose chunks are made where they are needed."""
    import dask.array as da
    from odc.geo.xr import xr_coords

    shape = (len(WINDOWS), len(BANDS), size, size)
    chunks = da.core.normalize_chunks((-1, -1, CHUNK, CHUNK), shape, dtype="float32")
    values = da.map_blocks(
        _noise, chunks=chunks, dtype="float32", meta=np.empty((0,) * 4, "float32")
    )
    observations = da.ones((shape[0], size, size), dtype="uint8", chunks=(-1, CHUNK, CHUNK))
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            **{str(k): v for k, v in xr_coords(GRID.geobox_of(box(size)), always_yx=True).items()},
            "time": np.array(["2023-04-01", "2023-07-01"], "datetime64[ns]"),
            "window": ("time", list(WINDOWS)),
            "band": list(BANDS),
            "observations": (("time", "y", "x"), observations),
        },
    )


def _noise(block_info: Any = None) -> Any:
    (where,) = [block_info[None]]
    rng = np.random.default_rng(where["chunk-location"])
    return rng.random(where["chunk-shape"], dtype="float32")


def write_model(folder: str) -> None:
    """A small U-Net, its weights as they fall."""
    import torch

    from rsscale.geo.lattice import Lattice
    from rsscale.learn.architectures import build
    from rsscale.learn.models import Model, save_model

    torch.manual_seed(0)
    spec = rs.ModelSpec(
        name="small",
        inputs=(rs.ModelInput("s2", BANDS, WINDOWS, (0.5,) * 3, (0.3,) * 3),),
        classes=tuple(rs.LandClass(k, f"class {k}", "#000000") for k in range(1, 5)),
        lattice=Lattice(512, 32),
        architecture="unet",
        hyperparameters={"width": 4, "depth": 2},
    )
    module = build("unet", spec.inputs, 4, width=4, depth=2).eval()
    with torch.no_grad():  # so that all classes occur
        scores = module(torch.randn(1, spec.channels, 256, 256))
        module.head.weight *= 2 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        scores = module(torch.randn(1, spec.channels, 256, 256))
        module.head.bias -= scores.mean(dim=(0, 2, 3))
    save_model(Model(spec, module, torch.device("cpu")), folder)


def opened(model: str) -> Any:
    """The model in this process; torch has several threads, as it has in workers."""
    import torch

    network = rs.open_model(model)
    torch.set_num_threads(max(torch.get_num_threads(), 2))
    return network


def write_map(model: str, out: str, size: int, with_torch: bool) -> dict[str, Any]:
    """What a user does in a notebook, and what it took."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        client.run(_count_openings)
        started = time.perf_counter()
        network = opened(model) if with_torch else rs.ModelFolder.at(model)
        maps = rs.predict(lazy_composite(size), network)
        build_s = time.perf_counter() - started
        graph = dict(maps.__dask_graph__())
        row = {
            "size": size,
            "model": "opened" if with_torch else "ModelFolder",
            "tasks": len(graph),
            "blocks": sum(str(k[0]).startswith("rsscale-predict") and len(k) == 3 for k in graph),
            "graph_bytes": len(pickle.dumps(maps.__dask_graph__())),
            "build_s": build_s,
        }
        del graph
        started = time.perf_counter()
        maps.to_zarr(out, consolidated=False)
        row["write_s"] = time.perf_counter() - started
        row["worker_bytes"] = list(client.run(peak_bytes).values())
        row["openings"] = "+".join(str(n) for n in client.run(_openings).values())
    row["client_bytes"] = peak_bytes()
    row["torch_in_client"] = "torch" in sys.modules
    return row


def _count_openings() -> None:
    from rsscale.learn import weights

    read, counts = weights.read_model, []

    def counted(*arguments: Any, **options: Any) -> Any:
        counts.append(1)
        return read(*arguments, **options)

    weights.read_model, weights.openings = counted, counts  # type: ignore[attr-defined]


def _openings() -> int:
    from rsscale.learn import weights

    return len(weights.openings)  # type: ignore[attr-defined]


def peak_bytes() -> int:
    """Peak memory of this process."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def equal_parts(model: str, out: str, size: int) -> bool:
    """Whether parts of what was written are what the eager call gives, all layers."""
    written = xr.open_zarr(out, consolidated=False, mask_and_scale=False)
    whole, network = lazy_composite(size), opened(model)
    around, part = min(size, 1024), min(size, 600)
    for top, left in ((0, 0), (size // 2 - around // 2,) * 2, (size - around, 0)):
        seen = whole.isel(y=slice(top, top + around), x=slice(left, left + around))
        inner = (around - part) // 2  # the rest is context
        rows = slice(top + inner, top + inner + part)
        cols = slice(left + inner, left + inner + part)
        core = GRID.geobox_of(box(size))[rows, cols]
        eager = rs.predict(seen.compute(scheduler="threads"), network, core=core)
        for name, layer in eager.data_vars.items():
            if not np.array_equal(layer.values, written[name].isel(y=rows, x=cols).values):
                return False
    return True


if __name__ == "__main__":
    main()
