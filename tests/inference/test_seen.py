"""Which inputs must have seen a pixel: any, or all, as the contract says; eagerly and lazily."""

import numpy as np
import odc.geo.xr  # noqa: F401 -- accessor
import pytest
import two_years
import xarray as xr

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.model.spec import ModelSpec

SIZE = 64


def composites(*, counted: bool) -> dict[str, xr.DataArray]:
    """Two dates; each has a half that the other has not, and the corner is of none."""
    random = np.random.default_rng(1)
    found = {}
    for name, rows in (("before", slice(0, 40)), ("after", slice(24, 64))):
        values = np.full((1, 2, SIZE, SIZE), np.nan, np.float32)
        values[..., rows, :] = random.uniform(1000, 4000, values[..., rows, :].shape)
        values[..., 50:, 50:] = np.nan
        array = xr.DataArray(
            values,
            dims=("time", "band", "y", "x"),
            coords={
                "time": ["year"],
                "band": list(two_years.BANDS),
                "y": 10.0 * np.arange(SIZE)[::-1] + 5,
                "x": 10.0 * np.arange(SIZE) + 5,
            },
        ).odc.assign_crs(two_years.CRS)
        if counted:
            seen = np.isfinite(values).any(axis=1).astype(np.uint8)
            array = array.assign_coords(observations=(("time", "y", "x"), seen))
        found[name] = array
    return found


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("lazy", [False, True])
def test_what_one_of_two_years_has_not_seen_is_nodata(counted: bool, lazy: bool) -> None:
    images = composites(counted=counted)
    known = [np.isfinite(one.values[0, 0]) for one in images.values()]
    if lazy:
        images = {name: one.chunk(x=24, y=40) for name, one in images.items()}
    for seen, expected in (("all", known[0] & known[1]), ("any", known[0] | known[1])):
        model = two_years.own_model(seen=seen)
        ds = rs.predict(images, model).load()
        np.testing.assert_array_equal(ds["classification"].values != 255, expected)
        np.testing.assert_array_equal(ds["confidence"].values != 255, expected)


def test_an_input_without_counts_must_have_a_value_too() -> None:
    images = composites(counted=True)
    known = [np.isfinite(one.values[0, 0]) for one in images.values()]
    images["after"] = images["after"].drop_vars("observations")
    ds = rs.predict(images, two_years.own_model())
    np.testing.assert_array_equal(ds["classification"].values != 255, known[0] & known[1])


def test_two_years_by_their_names_need_both() -> None:
    assert two_years.own_model().spec.seen == "all"
    other = two_years.own_model(inputs=two_years.inputs(names=("s2", "s1")))
    assert other.spec.seen == "any"


def test_the_contract_says_it_on_disk() -> None:
    spec = two_years.own_model().spec
    item = spec.to_item()
    assert item["properties"]["rsscale:seen"] == "all"
    assert ModelSpec.from_item(item) == spec
    usual = two_years.own_model(seen="any").spec.to_item()
    assert "rsscale:seen" not in usual["properties"]
    item["properties"]["rsscale:seen"] = "some"
    with pytest.raises(ModelError, match="rsscale:seen"):
        ModelSpec.from_item(item)
    with pytest.raises(ModelError, match="expected 'any' or 'all'"):
        two_years.own_model(seen="both")
