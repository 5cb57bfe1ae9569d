"""Each kind of model on the demo's archive: lines of code, speed, and whether maps are the same.

    python -m benchmarks.kinds FOLDER [--size 300] [--only KIND ...] [--json FILE]

FOLDER gets the simulated archive, and a folder of each kind: a recipe, and the model folder that
its snippet writes. Lines of code are those of the snippet, from what its user has in hand (a
network, samples, a file) to the model folder, without blank lines and comments. Then the command
line maps the archive's area three times, with a thread for each process: by one worker in tiles of
256 px, by two, and by two in tiles of 192 px. Seconds are those that the first run counts itself.
Networks in hand have random weights: what is compared are the maps of one model, and their accuracy
is not.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import xarray as xr
import yaml
from odc.geo.geobox import GeoBox
from rasterio.windows import Window
from torch import nn

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.layers import NODATA
from rsscale.simulation.simulate import SimulatedArchive
from rsscale.simulation.world import CLASSES

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SEASONS = {
    "spring": ["03-01", "05-31"],
    "summer": ["06-10", "08-15"],
    "autumn": ["08-16", "10-31"],
}
MEAN = (0.06, 0.08, 0.09, 0.25, 0.18, 0.11)
STD = (0.02, 0.02, 0.04, 0.08, 0.06, 0.05)
CHANNELS = len(BANDS) * len(SEASONS)
YEAR = 2024
# Cluster and tile of each run, by which the map may not change.
RUNS = (("local:1", 256), ("local:2", 256), ("local:2", 192))


class Convolutions(nn.Module):
    """A network that rsscale does not know: ``(N, 18, H, W)`` to ``(N, outputs, H, W)``."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(CHANNELS, 16, 3, padding=1)
        self.last = nn.Conv2d(16, outputs, 3, padding=1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Numbers of the middle of 5 by 5 pixels."""
        numbers: torch.Tensor = 4 * self.last(torch.relu(self.first(windows)))
        return numbers


@dataclass(frozen=True)
class InHand:
    """What somebody has before rsscale: a recipe, networks, files and samples.

    Attributes
    ----------
    folder : Path
        Holds ``recipe.yaml``; the model goes to ``model`` beside it.
    archive : SimulatedArchive
    """

    folder: Path
    archive: SimulatedArchive

    @property
    def model(self) -> Path:
        """Where the model goes."""
        return self.folder / "model"

    def network(self, outputs: int) -> nn.Module:
        """A network of one's own."""
        torch.manual_seed(0)
        return Convolutions(outputs).eval()

    @property
    def onnx_file(self) -> Path:
        """A network that somebody exported."""
        path = self.folder / "network.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter that needs no compiler is the older one
            torch.onnx.export(self.network(len(CLASSES)), (torch.zeros(1, CHANNELS, 64, 64),), path,
                              input_names=["image"], dynamo=False,
                              dynamic_axes={"image": {0: "n", 2: "h", 3: "w"}})  # fmt: skip
        return path

    @property
    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Composites ``(n, 18)`` and the true class of pixels in the middle of the area."""
        with rasterio.open(self.archive.truth[YEAR]) as file:
            middle = Window(file.width // 2 - 125, file.height // 2 - 125, 250, 250)
            truth, transform = file.read(1, window=middle), file.window_transform(middle)
            geobox = GeoBox(truth.shape, transform, file.crs)
        box = geobox.extent.to_crs("EPSG:4326").boundingbox.bbox
        items = rs.search(
            self.archive.catalog, self.archive.collection, area=list(box), datetime=str(YEAR)
        )
        cube = rs.load(items, geobox, bands=[*BANDS, "scl"])
        seasons = rs.composite(rs.mask(cube, "sentinel2-scl"), by={"windows": SEASONS}).compute()
        rows = seasons.sel(band=list(BANDS)).values.reshape(CHANNELS, -1).T
        known = np.isfinite(rows).all(axis=1) & (truth.ravel() != NODATA)
        chosen = np.random.default_rng(0).permutation(np.flatnonzero(known))[:3000]
        return rows[chosen], truth.ravel()[chosen]

    @property
    def classes(self) -> list[rs.LandClass]:
        """Those of the samples."""
        return [c for c in CLASSES if c.value in self.samples[1]]


def temporal_cnn(hand: InHand) -> None:
    options = ["train.architecture=tempcnn", "train.steps=200"]
    rs.train(hand.folder / "recipe.yaml", overrides=options)


def ltae(hand: InHand) -> None:
    options = ["train.architecture=ltae", "train.steps=200"]
    rs.train(hand.folder / "recipe.yaml", overrides=options)


def utae(hand: InHand) -> None:
    options = ["train.architecture=utae", "train.steps=10", "train.batch=2", "train.chip=64"]
    rs.train(hand.folder / "recipe.yaml", overrides=options)


def random_forest(hand: InHand) -> None:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(50, random_state=0).fit(*hand.samples)
    model = rs.Model.of(forest, inputs={"s2": BANDS}, times=[*SEASONS], classes=hand.classes)
    rs.save_model(model, hand.model)


def lightgbm(hand: InHand) -> None:
    from lightgbm import LGBMClassifier

    boosted = LGBMClassifier(n_estimators=50, verbose=-1).fit(*hand.samples)
    model = rs.Model.of(boosted, inputs={"s2": BANDS}, times=[*SEASONS], classes=hand.classes)
    rs.save_model(model, hand.model)


def sigmoid(hand: InHand) -> None:
    inputs = [rs.ModelInput("s2", BANDS, tuple(SEASONS), MEAN, STD)]
    classes = [rs.LandClass(0, "other", "#e4e4e0"), rs.LandClass(1, "water", "#4a90c2")]
    output = rs.ClassOutput("sigmoid")
    model = rs.Model.of(hand.network(1), inputs=inputs, classes=classes, output=output, halo=8)
    rs.save_model(model, hand.model)


def regression(hand: InHand) -> None:
    inputs = [rs.ModelInput("s2", BANDS, tuple(SEASONS), MEAN, STD)]
    output = rs.ValueOutput((rs.Layer("biomass", "uint16", 65535, scale=0.01),))
    model = rs.Model.of(hand.network(1), inputs=inputs, output=output, halo=8)
    rs.save_model(model, hand.model)


def embedding(hand: InHand) -> None:
    inputs = [rs.ModelInput("s2", BANDS, tuple(SEASONS), MEAN, STD)]
    output = rs.EmbeddingOutput(64)
    model = rs.Model.of(hand.network(64), inputs=inputs, output=output, halo=8)
    rs.save_model(model, hand.model)


def own_network(hand: InHand) -> None:
    inputs = [rs.ModelInput("s2", BANDS, tuple(SEASONS), MEAN, STD)]
    model = rs.Model.of(hand.network(len(CLASSES)), inputs=inputs, classes=CLASSES, halo=8)
    rs.save_model(model, hand.model)


def onnx_file(hand: InHand) -> None:
    inputs = [rs.ModelInput("s2", BANDS, tuple(SEASONS), MEAN, STD)]
    model = rs.Model.of(hand.onnx_file, inputs=inputs, classes=CLASSES, halo=8)
    rs.save_model(model, hand.model)


def smp_unet(hand: InHand) -> None:
    import segmentation_models_pytorch as smp

    said = {"encoder_name": "resnet18"}
    network = smp.Unet(**said, encoder_weights=None, in_channels=CHANNELS, classes=len(CLASSES))
    inputs = [rs.ModelInput("s2", BANDS, tuple(SEASONS), MEAN, STD)]
    model = rs.Model.of(network.eval(), inputs=inputs, classes=CLASSES, architecture="smp:Unet",
                        hyperparameters=said)  # fmt: skip
    rs.save_model(model, hand.model)


SERIES = (temporal_cnn, ltae, utae)
KINDS: dict[str, Callable[[InHand], None]] = {
    "temporal CNN, dates": temporal_cnn,
    "L-TAE, dates": ltae,
    "U-TAE, dates": utae,
    "random forest": random_forest,
    "LightGBM": lightgbm,
    "sigmoid, one channel": sigmoid,
    "regression, uint16": regression,
    "embedding, 64 x int8": embedding,
    "torch.nn.Module": own_network,
    "ONNX file": onnx_file,
    "smp U-Net": smp_unet,
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=300, help="width of a scene, px")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    options = parser.parse_args()
    archive = rs.simulate(options.folder / "archive", size=options.size, years=(YEAR,))
    print(f"{'kind':<21} lines  file                 seconds     px/s  two tile sizes  two workers")
    rows = []
    for name in options.only:
        rows.append(measure(name, KINDS[name], options.folder, archive))
        print(_line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _line(row: dict[str, Any]) -> str:
    same = ["same" if row[key] else "DIFFERS" for key in ("two_tile_sizes", "two_workers")]
    return (
        f"{row['kind']:<21} {row['lines']:>5}  {row['file']:<20} {row['seconds']:>7.1f} "
        f"{row['px_per_s']:>8.0f}  {same[0]:<14}  {same[1]}"
    )


def measure(
    name: str, snippet: Callable[[InHand], None], root: Path, archive: SimulatedArchive
) -> dict[str, Any]:
    """Make a model by its snippet, map with it, and compare the maps."""
    folder = root / snippet.__name__
    folder.mkdir()
    recipe = recipe_of(archive, is_series=snippet in SERIES)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    snippet(InHand(folder, archive))
    maps = []
    for number, (cluster, tile) in enumerate(RUNS):
        out = folder / f"run-{number}"
        _map(folder / "recipe.yaml", out, cluster, tile)
        maps.append(rs.Run(out).open().load())
    first = rs.Run(folder / "run-0").status()
    pixels = first["steps"]["map"]["facts"]["pixels"]
    return {
        "kind": name,
        "lines": lines_of(snippet),
        "file": next((folder / "model").glob("model.*")).name,
        "seconds": first["seconds"],
        "px_per_s": pixels / first["seconds"],
        "two_workers": are_equal(maps[0], maps[1]),
        "two_tile_sizes": are_equal(maps[0], maps[2]),
    }


def recipe_of(archive: SimulatedArchive, *, is_series: bool) -> dict[str, Any]:
    """A recipe as the demo's, for one year; a series has observations at their own dates."""
    how: dict[str, Any] = {"composite": {"windows": SEASONS, "reducer": "median"}}
    if is_series:
        how = {"series": True, "merge_days": True}
    return {
        "name": "kinds",
        "area": str(archive.area),
        "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": RUNS[0][1]},
        "periods": [YEAR],
        "inputs": {
            "s2": {
                "catalog": str(archive.catalog),
                "collection": archive.collection,
                "bands": list(BANDS),
                "query": {"eo:cloud_cover": {"lt": 85}},
                "mask": {"preset": "sentinel2-scl", "dilate": 30},
                **how,
            }
        },
        "model": "model",
        "train": {
            "labels": str(archive.labels),
            "class": "landcover",
            "period_column": "year",
            "split": {"blocks": 1000},
            "stride": 224,
            "halo": 16,
        },
    }


def _map(recipe: Path, out: Path, cluster: str, tile: int) -> None:
    command = [sys.executable, "-m", "rsscale", "run", str(recipe), "--out", str(out), "--trust",
               "--cluster", cluster, "--threads", "1", "--device", "cpu",
               "--set", f"grid.tile={tile}"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def lines_of(function: Callable[..., Any]) -> int:
    """Lines of a function's body that are code."""
    source = textwrap.dedent(inspect.getsource(function))
    (made,) = ast.parse(source).body
    assert isinstance(made, ast.FunctionDef)
    body = source.splitlines()[made.body[0].lineno - 1 :]
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in body)


def are_equal(product: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether two maps hold the same values; products of other tiles have another extent."""
    first, second = xr.align(product, other, join="inner")
    return all(
        np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
        and _known(first[name]) == _known(product[name]) == _known(other[name])
        for name in product.data_vars
    )


def _known(layer: xr.DataArray) -> int:
    """Values that are not nodata: outside of the area all are."""
    if layer.dtype.kind == "f":
        return int(np.isfinite(layer).sum())
    return int((layer != layer.attrs["nodata"]).sum())


if __name__ == "__main__":
    main()
