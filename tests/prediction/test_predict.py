"""Prediction: against the plainest possible loop, and at all edges."""

import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, GRID, HALO, BoxModel, composite
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.errors import AreaError, ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.prediction.predict import predict


def expected(comp: xr.DataArray, kept: PixelBox, read: PixelBox) -> tuple[np.ndarray, np.ndarray]:
    """The oracle: the network once over everything, zeros where missing and outside."""
    values = np.nan_to_num(comp.values.reshape(4, *read.shape))
    padded = torch.from_numpy(np.pad(values, ((0, 0), (64, 64), (64, 64))))[None]
    p = torch.softmax(BoxModel()(padded), dim=1)[0, :, 64:-64, 64:-64].numpy()
    classes = np.where(p[0] >= p[1], 3, 9)
    seen = np.isfinite(comp.values).any(axis=(0, 1))
    percent = np.round(p.max(axis=0) * 100)
    out = np.where(seen, classes, 255), np.where(seen, percent, 255)
    return tuple(layer[kept.slices(read)] for layer in out)


def test_windows_give_what_the_whole_gives() -> None:
    comp = composite(BOX)
    found = predict(comp, BoxModel())
    classes, percent = expected(comp, BOX, BOX)
    assert np.array_equal(found.classification.values, classes)
    assert np.abs(found.confidence.values.astype(int) - percent.astype(int)).max() <= 1
    assert found.classification.dtype == found.confidence.dtype == np.uint8
    assert found.classification.attrs["flag_values"] == [3, 9]
    assert found.odc.geobox == GRID.geobox_of(BOX)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 31), st.integers(1, 31))
def test_a_part_equals_the_whole(top: int, left: int, height: int, width: int) -> None:
    comp = composite(BOX)
    part = PixelBox(BOX.row0 + top, BOX.col0 + left, BOX.row0 + top + height,
                    BOX.col0 + left + width)  # fmt: skip
    whole = predict(comp, BoxModel())
    found = predict(comp, BoxModel(), core=GRID.geobox_of(part))
    for name in ("classification", "confidence", "observations"):
        assert np.array_equal(found[name].values, whole[name].values[part.slices(BOX)])


def test_observations_are_counted_over_all_windows() -> None:
    comp = composite(BOX)
    found = predict(comp, BoxModel())
    assert np.array_equal(found.observations.values, comp.observations.values.sum(axis=0))


def test_pixels_that_are_not_wanted_are_nodata_everywhere() -> None:
    where = np.zeros(BOX.shape, bool)
    where[5:20, 5:20] = True
    model = BoxModel()
    found = predict(composite(BOX), model, where=where)
    for name in found.data_vars:
        assert (found[name].values[~where] == 255).all()
    assert (found.observations.values[where] != 255).all()
    assert len(model.batches) < len(list(model.spec.lattice.cores(BOX)))  # the rest is skipped


def test_what_was_never_seen_is_nodata_and_counts_no_observation() -> None:
    comp = composite(BOX, gaps=False)
    comp.values[..., :10, :10] = np.nan
    comp.observations.values[..., :10, :10] = 0
    found = predict(comp, BoxModel())
    assert (found.classification.values[:10, :10] == 255).all()
    assert (found.observations.values[:10, :10] == 0).all()
    assert (found.classification.values[10:, 10:] != 255).all()


def test_scores_that_are_no_numbers_are_nodata_and_counted() -> None:
    class Broken(BoxModel):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            scores = super().__call__(batch)
            scores[:, 0, HALO, HALO] = float("nan")
            return scores

    box = PixelBox(0, 0, 32, 32)
    found = predict(composite(box, gaps=False), Broken())
    assert found.attrs["non_finite"] == 4
    bad = found.classification.values == 255
    assert np.argwhere(bad).tolist() == [[0, 0], [0, 16], [16, 0], [16, 16]]
    assert (found.confidence.values[bad] == 255).all()
    where = np.ones((32, 32), bool)
    where[0] = False  # what is not wanted is not counted
    part = predict(composite(box, gaps=False), Broken(), where=where)
    assert part.attrs["non_finite"] == 2


def test_batches_have_one_shape() -> None:
    model = BoxModel()
    one = predict(composite(BOX), BoxModel())
    four = predict(composite(BOX), model, batch=4)
    assert {shape[0] for shape in model.batches} == {4}
    assert np.array_equal(one.classification.values, four.classification.values)


def test_probabilities_of_all_classes() -> None:
    found = predict(composite(BOX), BoxModel(), probability=True)
    seen = found.classification.values != 255
    total = found.probability.values.astype(int).sum(axis=0)
    assert found.probability.dims == ("class", "y", "x")
    assert found["class"].values.tolist() == [3, 9]
    assert np.isin(total[seen], (99, 100, 101)).all()
    assert (found.probability.values[:, ~seen] == 255).all()


def test_bands_are_picked_by_name() -> None:
    comp = composite(BOX)
    swapped = comp.sel(band=["nir", "red"])
    one, other = predict(comp, BoxModel()), predict(swapped, BoxModel())
    assert np.array_equal(one.classification.values, other.classification.values)


def test_what_does_not_fit_is_refused() -> None:
    comp = composite(BOX)
    with pytest.raises(ModelError, match="wants band 'nir'"):
        predict(comp.sel(band=["red"]), BoxModel())
    with pytest.raises(ModelError, match="time windows"):
        predict(comp.isel(time=[1, 0]), BoxModel())
    with pytest.raises(ModelError, match="'s2' is missing"):
        predict({"s1": comp}, BoxModel())
    with pytest.raises(AreaError, match="no georeference"):
        predict(comp.drop_vars(["spatial_ref", "x", "y"]), BoxModel())
