"""Building footprints of SpaceNet, scored by solaris: equal to the last digit."""

import csv
from pathlib import Path

import geopandas as gpd
import pytest

import rsscale as rs

DATA = Path(__file__).resolve().parents[2] / "../shared/data/objects"


@pytest.mark.skipif(not DATA.exists(), reason="the footprints are not beside the project")
def test_footprints_to_the_last_digit():
    truth = gpd.read_parquet(DATA / "footprints-truth.parquet")
    predicted = gpd.read_parquet(DATA / "footprints-predicted.parquet")
    with (DATA / "footprints-scores.csv").open() as file:
        published = list(csv.DictReader(file))
    for city, expected in zip(("Vegas", "Khartoum"), published, strict=True):
        # The challenge leaves out what is smaller than 20 square pixels.
        true = truth[truth.image.str.contains(city) & (truth.area >= 20)]
        found = predicted[predicted.image.str.contains(city) & (predicted.area > 20)]
        scores = rs.score_objects(found, true, image="image", matching="order")
        at = scores.overall.thresholds[0.5]
        assert (at.true, at.false, at.missed) == tuple(
            int(expected[name]) for name in ("TruePos", "FalsePos", "FalseNeg")
        )
        assert repr(at.precision.value) == expected["Precision"]
        assert repr(at.recall.value) == expected["Recall"]
        assert repr(at.f1.value) == expected["F1Score"]
