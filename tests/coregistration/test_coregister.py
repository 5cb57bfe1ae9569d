"""Two images in memory: the second one registered onto the first; what can't be is refused."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from two_dates import clouds, hidden, pair_of, texture

import rsscale as rs

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
BANDS = ("blue", "green", "red", "nir08", "swir16", "swir22")


def image(values: np.ndarray, crs: str = "EPSG:32651", x: float = 600_000) -> xr.DataArray:
    box = GeoBox(values.shape[-2:], rasterio.Affine(30, 0, x, 0, -30, 3_600_000), crs)
    names = ["red", "nir"][: values.shape[0]]
    coords = {**xr_coords(box, always_yx=True), "band": names}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords)


def test_it_lies_on_the_first_and_has_its_numbers() -> None:
    dates = pair_of(0, 3.4, -1.7, size=300)
    cloudy = hidden(dates.after * 0.5 + 30, clouds(1, (300, 300), 0.3))
    before, after = image(dates.before), image(cloudy)
    found = rs.coregister(before, after, normalise=True)
    assert (found.shift.dx, found.shift.dy) == pytest.approx((3.4, -1.7), abs=0.05)
    assert found.radiometry is not None
    assert found.radiometry.gain == pytest.approx([2, 2], rel=0.05)
    assert found.after.dtype == np.float32
    assert found.after.attrs["shift_x_px"] == found.shift.dx
    xr.testing.assert_equal(found.after["x"], before["x"])
    error = (found.after - before).values
    assert np.sqrt(np.nanmean(error**2)) < 1.6  # noise alone is 1.41
    assert 0.6 < np.isfinite(error).mean() < 0.7
    plain = rs.coregister(before.isel(band=0, drop=True), after.isel(band=0, drop=True))
    assert plain.after.dims == ("y", "x")
    assert plain.radiometry is None


def test_images_of_other_pixels_or_places_are_refused() -> None:
    one, other = (image(texture(seed, (260, 260))) for seed in (1, 2))
    with pytest.raises(rs.AreaError, match="have the CRS"):
        rs.coregister(one, image(one.values, crs="EPSG:32650"))
    with pytest.raises(rs.AreaError, match=r"lie apart along x.*100 px.*load both on one grid"):
        rs.coregister(one, image(one.values, x=603_000))
    with pytest.raises(rs.AreaError, match="260 and 250 pixels along y"):
        rs.coregister(one, one.isel(y=slice(250)))
    with pytest.raises(rs.BandError, match=r"\['red', 'nir'\], the second \['red'\]"):
        rs.coregister(one, one.isel(band=[0]))
    with pytest.raises(rs.AreaError, match=r"expected \(y, x\) or \(band, y, x\)"):
        rs.coregister(one.expand_dims("time"), one.expand_dims("time"))
    with pytest.raises(rs.RsscaleError, match="show different places: 1 of 1 blocks"):
        rs.coregister(one, other)


def test_a_shift_beyond_the_overlap_is_refused() -> None:
    field = texture(3, (260, 700))
    with pytest.raises(rs.RsscaleError, match="show different places"):
        rs.coregister(image(field[..., :260]), image(field[..., 300:560]))


def test_an_image_that_is_all_cloud_is_left_as_it_is() -> None:
    one = image(texture(4, (200, 200)))
    nothing = one.copy(data=np.full(one.shape, np.nan))
    found = rs.coregister(one, nothing)
    assert found.shift.blocks == 0
    assert np.isnan(found.after).all()
    with pytest.raises(rs.RsscaleError, match="only 0 pixels are seen at both dates"):
        rs.coregister(one, nothing, normalise=True)


@pytest.mark.skipif(not SHARED.exists(), reason=f"the real pairs are not at {SHARED}")
def test_real_pairs() -> None:
    """Landsat images are registered to well below half a pixel, three years and a season apart."""
    scenes = {
        "taizhou-change": ("2000TM", "2003TM"),
        "landsat7-two-dates": ("LE70220491999322", "LE70220492002106"),
    }
    for folder, names in scenes.items():
        one, other = (_scene(SHARED / folder / "images", name) for name in names)
        found = rs.coregister(one, other)
        assert found.shift.found == found.shift.blocks >= 1
        assert found.shift.length < 0.25
        assert found.shift.spread < 0.1
    assert 0.7 < np.isfinite(found.after).mean() < 0.75  # 27 % are hidden by clouds
    taizhou = _scene(SHARED / "taizhou-change/images", "2000TM")
    elsewhere = other.isel(y=slice(200), x=slice(200))
    with pytest.raises(rs.RsscaleError, match="different places"):
        rs.coregister(
            taizhou.isel(y=slice(200), x=slice(200)).copy(data=elsewhere.values),
            taizhou.isel(y=slice(200), x=slice(200)),
        )


def _scene(folder: Path, name: str) -> xr.DataArray:
    values = []
    for band in BANDS:
        with rasterio.open(folder / f"{name}_{band}.tif") as file:
            values.append(file.read(1).astype("float32"))
            box = GeoBox(file.shape, file.transform, str(file.crs))
    stacked = np.stack(values)
    mask = folder / f"{name}_fmask.tif"
    if mask.exists():
        with rasterio.open(mask) as file:
            unclear = ~np.isin(file.read(1), (0, 1))
        stacked[:, unclear | (stacked <= -9999).any(0) | (stacked >= 16000).any(0)] = np.nan
    return xr.DataArray(
        stacked, dims=("band", "y", "x"),
        coords={**xr_coords(box, always_yx=True), "band": list(BANDS)},
    )  # fmt: skip
