"""How well series at points are told apart, against classical learners in the same folds.

    python -m benchmarks.points DATA [--only NAME] [--seed 0] [--json FILE]

DATA is a folder with three public data sets, of which those that are missing are left out:

- ``cbers-bahia``: 875 series of CBERS-4, four classes, by blocks of 0.25 degrees;
- ``crop-series``: series of Sentinel-2 and Sentinel-1 with gaps, kinds of crops, by such blocks;
- ``fractional-cover``: 3,937 sites of Landsat, three fractions, by blocks of a hundred rows, as the
  sites have no coordinates.

Every learner is tested on the same groups, which it did not see: all are those of
:func:`rsscale.compare_table`. Networks learn from a fifth fewer samples, which choose their
weights; classical learners from all that is not tested. Series are put on two dozen places of the
year for them, as maps of them do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import rsscale as rs
from benchmarks.options import parser_of

_FOLDS = 5
_LEAST = 20  # samples of a kind of crop that takes part
_S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
_LANDSAT = ("b2", "b3", "b4", "b5", "b7")
_CLASSICAL = ("nearest_neighbours", "random_forest", "gradient_boosting")
Named = tuple[str, rs.Comparison]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=list(_DATA), help="one data set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = []
    for name, comparisons in _DATA.items():
        folder = options.data / name
        if options.only not in (None, name):
            continue
        if not folder.is_dir():
            print(f"{name}: left out, {folder} is not there")
            continue
        for how, comparison in comparisons(folder, options.seed):
            print(f"\n{name}, {how}\n{comparison}", flush=True)
            results.append({"data": name, "how": how, **comparison.properties()})
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def cbers(folder: Path, seed: int) -> Iterator[Named]:
    table = rs.read_series_table(
        folder / "series.parquet",
        samples=folder / "samples.parquet",
        bands=["NDVI", "EVI", "B13", "B14", "B15", "B16"],
        label="label",
        blocks=0.25,
    )
    learners = ("tempcnn", "ltae", *_CLASSICAL)
    yield "weights by class", compared(table, learners, seed, epochs=60)


def crops(folder: Path, seed: int) -> Iterator[Named]:
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

    for balance in ("weights", "sampling"):
        learners = ("tempcnn", "ltae", *_CLASSICAL)
        yield (
            f"Sentinel-2, {balance}",
            compared(read(_S2), learners, seed, epochs=60, balance=balance),
        )
    both = read({"s2": _S2, "s1": ("VV", "VH")})
    yield "Sentinel-1 and 2", compared(both, ("fusion", *_CLASSICAL), seed, epochs=60)


def cover(folder: Path, seed: int) -> Iterator[Named]:
    sites = pd.read_parquet(folder / "sites.parquet")
    sites = sites.assign(site=np.arange(len(sites)), block=np.arange(len(sites)) // 100)
    quantities = ["pv", "npv", "bare"]

    def read(values: list[str]) -> rs.SeriesTable:
        return rs.read_series_table(
            sites, bands=_LANDSAT, values=values, sample="site", date=None, group="block"
        )

    learners = {"pixel": {"width": 128}, "nearest_neighbours": {}, "random_forest": {}}
    trained = {"epochs": 150, "batch": 128}
    yield "all at once", compared(read(quantities), learners, seed, **trained)
    for quantity in quantities:  # trees that are boosted learn one value
        yield quantity, compared(read([quantity]), ("gradient_boosting",), seed)


def compared(table: rs.SeriesTable, learners: Any, seed: int, **training: Any) -> rs.Comparison:
    return rs.compare_table(table, learners, folds=_FOLDS, seed=seed, device="cpu", **training)


_DATA = {"cbers-bahia": cbers, "crop-series": crops, "fractional-cover": cover}

if __name__ == "__main__":
    main()
