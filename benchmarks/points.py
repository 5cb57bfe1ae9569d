"""How well series at points are told apart, against classical models in the same folds.

    python -m benchmarks.points DATA [--only NAME] [--seed 0] [--json FILE]

DATA is a folder with three public data sets, of which those that are missing are left out:

- ``cbers-bahia``: 875 series of CBERS-4, four classes, by blocks of 0.25 degrees;
- ``crop-series``: series of Sentinel-2 and Sentinel-1 with gaps, kinds of crops, by such blocks;
- ``fractional-cover``: 3,937 sites of Landsat, three fractions, by blocks of a hundred rows, as the
  sites have no coordinates.

Every model is tested on the same groups, which it did not see. Classical models get gaps filled
along the year; networks learn from a fifth fewer samples, which choose their weights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.networks.pixels import PixelSeries
from rsscale.networks.tempcnn import on_year
from rsscale.training.split import folds_of
from rsscale.accuracy.sample_scores import ClassScores, ValueScores

_FOLDS = 5
_LEAST = 20  # samples of a kind of crop that takes part
_S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
_LANDSAT = ("b2", "b3", "b4", "b5", "b7")
Row = dict[str, Any]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=list(_DATA), help="one data set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = []
    for name, rows in _DATA.items():
        folder = options.data / name
        if options.only not in (None, name):
            continue
        if not folder.is_dir():
            print(f"{name}: left out, {folder} is not there")
            continue
        for row in rows(folder, options.seed):
            results.append({"data": name, **row})
            told = "  ".join(f"{k} {v:.3f}" for k, v in row["scores"].items())
            print(f"{name:<17} {row['model']:<28} {told}  {row['seconds']:6.1f} s", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def cbers(folder: Path, seed: int) -> Iterator[Row]:
    table = rs.read_series_table(
        folder / "series.parquet",
        samples=folder / "samples.parquet",
        bands=["NDVI", "EVI", "B13", "B14", "B15", "B16"],
        label="label",
        blocks=0.25,
    )
    yield network(table, seed, "tempcnn", epochs=60)
    yield network(table, seed, "ltae", epochs=60)
    yield from classical(table, seed)


def crops(folder: Path, seed: int) -> Iterator[Row]:
    samples = pd.read_parquet(folder / "samples.parquet")
    counts = samples["crop"].value_counts()
    samples = samples[samples["crop"].isin(counts.index[counts >= _LEAST])]
    series = pd.read_parquet(folder / "series.parquet")
    series = series[series["id"].isin(samples["id"])]

    def read(bands: Any) -> rs.SeriesTable:
        return rs.read_series_table(
            series, samples=samples, bands=bands, label="crop", sample="id", date="time",
            blocks=0.25, nodata=65535, scale=1e-4,
        )  # fmt: skip

    optical = read(_S2)
    for balance in ("weights", "sampling"):
        for architecture in ("tempcnn", "ltae"):
            yield network(optical, seed, architecture, epochs=60, balance=balance)
    both = read({"s2": _S2, "s1": ("VV", "VH")})
    yield network(both, seed, "fusion", epochs=60)
    yield from classical(optical, seed)


def cover(folder: Path, seed: int) -> Iterator[Row]:
    sites = pd.read_parquet(folder / "sites.parquet")
    sites = sites.assign(site=np.arange(len(sites)), block=np.arange(len(sites)) // 100)
    table = rs.read_series_table(
        sites, bands=_LANDSAT, values=["pv", "npv", "bare"], sample="site", date=None, group="block"
    )
    for loss in ("mse", "huber"):
        wide = {"width": 128}
        yield network(table, seed, "pixel", epochs=150, batch=128, loss=loss, hyperparameters=wide)
    yield from classical(table, seed)


def network(table: rs.SeriesTable, seed: int, architecture: str, **options: Any) -> Row:
    started = time.perf_counter()
    _, report = rs.train_table(
        table, architecture=architecture, folds=_FOLDS, seed=seed, device="cpu", **options
    )
    told = [str(v) for k, v in options.items() if k in ("balance", "loss")]
    name = " ".join([architecture, *told])
    return {
        "model": name,
        "scores": figures(report.scores),
        "seconds": time.perf_counter() - started,
        "notes": list(report.notes),
    }


def classical(table: rs.SeriesTable, seed: int) -> Iterator[Row]:
    """Models of scikit-learn and LightGBM in the folds of :func:`rsscale.train_table`."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    trees = {"random_state": seed, "n_jobs": 1}
    boosted = {**trees, "verbose": -1, "n_estimators": 200}
    models: dict[str, Callable[[], Any]] = (
        {
            "least squares": LinearRegression,
            "5 nearest neighbours": lambda: make_pipeline(StandardScaler(), KNeighborsRegressor(5)),
            "random forest": lambda: RandomForestRegressor(300, **trees),
            "LightGBM": lambda: MultiOutputRegressor(LGBMRegressor(**boosted)),
        }
        if table.quantities
        else {
            "5 nearest neighbours": lambda: KNeighborsClassifier(5),
            "random forest": lambda: RandomForestClassifier(500, class_weight="balanced", **trees),
            "LightGBM": lambda: LGBMClassifier(class_weight="balanced", **boosted),
        }
    )
    features, fold = filled(table), folds_of(table.groups, _FOLDS, seed)
    names = sorted(set(table.targets)) if not table.quantities else []
    truth = table.targets if table.quantities else np.searchsorted(names, table.targets)
    for name, make in models.items():
        started = time.perf_counter()
        found = np.zeros(truth.shape)
        for number in range(_FOLDS):
            test = fold == number
            found[test] = make().fit(features[~test], truth[~test]).predict(features[test])
        scores: Any = (
            ValueScores(table.quantities, found - truth, truth)
            if table.quantities
            else ClassScores.of(names, found.astype(int), truth)
        )
        seconds = time.perf_counter() - started
        yield {"model": name, "scores": figures(scores), "seconds": seconds}


def filled(table: rs.SeriesTable) -> npt.NDArray[np.float32]:
    """Features ``(N, F)``: values at two dozen places of the year, or as they are of one date."""
    (one,) = table.inputs
    if one.values.shape[1] == 1:  # noqa: PD011
        return one.values[:, 0]  # noqa: PD011
    valid = torch.from_numpy(one.valid)
    series = PixelSeries(
        torch.from_numpy(np.nan_to_num(one.values)), torch.from_numpy(one.days), valid
    )
    return on_year(series, 24).flatten(1).numpy()


def figures(scores: Any) -> dict[str, float]:
    if isinstance(scores, ValueScores):
        return {f"RMSE {name}": value for name, value in scores.rmse.items()}
    return {"accuracy": scores.accuracy, "balanced": scores.balanced_accuracy}


_DATA = {"cbers-bahia": cbers, "crop-series": crops, "fractional-cover": cover}

if __name__ == "__main__":
    main()
