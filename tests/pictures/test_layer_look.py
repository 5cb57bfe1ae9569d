"""Any layer as a picture: flags by their classes, numbers in steps whose shares are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rsscale.errors import ModelError
from rsscale.legend.classes import classes_from_attributes
from rsscale.pictures.layer_look import _as_flags, _as_steps, quicklook_layer

pytest.importorskip("matplotlib", reason="the extra 'pictures' is not installed")


def product() -> xr.Dataset:
    confidence = np.tile(np.arange(100, dtype=np.uint8), (40, 1))
    confidence[:, 90:] = 255
    year = np.full((40, 100), 65535, np.uint16)
    year[:, :30], year[:, 30:40] = 0, 2021
    flags = {"flag_values": [0, 2020, 2021], "flag_meanings": "unchanged since_2020 since_2021"}
    coords = {"y": np.arange(40.0)[::-1], "x": np.arange(100.0)}
    return xr.Dataset(
        {
            "probability": (("class", "y", "x"), np.zeros((2, 40, 100), np.uint8)),
            "confidence": (("y", "x"), confidence, {"units": "percent", "nodata": 255}),
            "change_year": (("y", "x"), year, {**flags, "nodata": 65535}),
        },
        coords,
    )


def test_numbers_are_drawn_in_equal_steps() -> None:
    shown = _as_steps(product()["confidence"])
    classes = classes_from_attributes(shown.attrs)
    assert len(classes) == 8
    assert classes[0].name == "below 11.9 percent"
    assert classes[-1].name.endswith(" percent and more")
    counts = np.bincount(shown.values.ravel(), minlength=256)
    assert counts[255] == 10 * 40
    assert counts[:8].min() > 0.1 * 90 * 40  # steps of equal width, of equally many values
    assert counts[:8].sum() == 90 * 40
    lazy = _as_steps(product().chunk({"x": 30})["confidence"])
    assert np.array_equal(lazy.values, shown.values)


def test_flags_of_any_size_are_classes() -> None:
    shown = _as_flags(product()["change_year"])
    assert [c.name for c in classes_from_attributes(shown.attrs)] == [
        "unchanged", "since 2020", "since 2021",
    ]  # fmt: skip
    assert shown.values[0].tolist() == [0] * 30 + [2] * 10 + [255] * 60


def test_classes_are_drawn_where_no_layer_is_named(tmp_path: Path) -> None:
    classes = product()["change_year"].copy()
    classes.values[:] = 2021
    ds = product().assign(classification=classes)
    assert next(iter(ds)) != "classification"
    unnamed, named = (
        quicklook_layer(ds, tmp_path / f"{name}.png", name) for name in ("", "classification")
    )
    assert unnamed.read_bytes() == named.read_bytes()
    first = quicklook_layer(ds, tmp_path / "confidence.png", "confidence")
    assert unnamed.read_bytes() != first.read_bytes()


def test_a_layer_is_drawn_or_those_that_there_are_are_named(tmp_path: Path) -> None:
    for name in ("", "confidence", "change_year"):
        path = quicklook_layer(product(), tmp_path / f"{name}.png", name)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / ".png").read_bytes() == (tmp_path / "confidence.png").read_bytes()
    with pytest.raises(ModelError, match=r"no map 'confidance'.*did you mean 'confidence'"):
        quicklook_layer(product(), tmp_path / "a.png", "confidance")
    with pytest.raises(ModelError, match=r"no map .probability..* a further axis"):
        quicklook_layer(product(), tmp_path / "a.png", "probability")
    nothing = product()[["confidence"]] * 0 + 255
    nothing["confidence"].attrs["nodata"] = 255
    with pytest.raises(ModelError, match="has no value to draw"):
        quicklook_layer(nothing, tmp_path / "a.png", "confidence")
