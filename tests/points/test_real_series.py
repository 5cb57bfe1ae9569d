"""Real series at points: networks do as well as classical models where they were not trained."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rsscale as rs

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def folder(name: str) -> Path:
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"public example data: no folder {path}")
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.extended
def test_savanna_and_fields_of_bahia() -> None:
    """Five nearest neighbours reach 0.91 in blocks of a quarter of a degree."""
    data = folder("cbers-bahia")
    table = rs.read_series_table(
        data / "series.parquet",
        samples=data / "samples.parquet",
        bands=["NDVI", "EVI", "B13", "B14", "B15", "B16"],
        label="label",
        blocks=0.25,
    )
    small = {"width": 64, "heads": 8}
    _, report = rs.train_table(
        table, architecture="ltae", hyperparameters=small, epochs=30, folds=5, device="cpu"
    )
    assert report.scores.count == 875
    assert report.scores.accuracy > 0.89


@pytest.mark.extended
def test_fractions_of_cover_are_better_than_least_squares() -> None:
    """Their root mean squared errors on 937 sites are 0.113, 0.171 and 0.133."""
    sites = pd.read_parquet(folder("fractional-cover") / "sites.parquet")
    sites = sites.assign(site=np.arange(len(sites)), block=np.arange(len(sites)) // 100)
    table = rs.read_series_table(
        sites,
        bands=["b2", "b3", "b4", "b5", "b7"],
        values=["pv", "npv", "bare"],
        sample="site",
        date=None,
        group="block",
    )
    _, report = rs.train_table(
        table, architecture="pixel", hyperparameters={"width": 128}, epochs=60, batch=128,
        folds=3, device="cpu",
    )  # fmt: skip
    rmse = report.scores.rmse
    assert rmse["pv"] < 0.113
    assert rmse["npv"] < 0.171
    assert rmse["bare"] < 0.133
