"""Sources of a second date as the first would have it: lazy as they were, and of the same types."""

from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from rsscale.change_guards.registered import NormalisedSource, RegisteredSource, moved
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.steps.base import Cost

BOX, KEY = PixelBox(30, 40, 70, 95), TileKey("change", "2000-2003", 0, 0)
SHIFTS = [(0.3, -0.7), (2.0, -3.0), (0.0, 0.0), (-7.5, 8.0)]


def composites(lazy: bool) -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3, 120, 140)).astype("float32")
    values[..., 50:55, 60:63] = np.nan
    counts = rng.integers(0, 5, (2, 120, 140)).astype("uint8")
    if lazy:
        values = da.from_array(values, chunks=(1, 3, 16, 32))
        counts = da.from_array(counts, chunks=(1, 16, 32))
    coords = {
        "band": ["red", "green", "nir"], "y": -np.arange(120.0), "x": np.arange(140.0),
        "observations": (("time", "y", "x"), counts),
    }  # fmt: skip
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords).to_dataset(
        name="composite"
    )


@dataclass
class Fixed:
    """A source of one Dataset, and the boxes that were asked for."""

    whole: xr.Dataset
    asked: list[PixelBox] = field(default_factory=list)

    def read(self, box: PixelBox, key: TileKey, resources: Any) -> xr.Dataset:
        del key, resources
        self.asked.append(box)
        if "y" not in self.whole.dims:
            return self.whole
        return self.whole.isel(y=slice(box.row0, box.row1), x=slice(box.col0, box.col1))

    def digest(self, box: PixelBox, key: TileKey) -> str:
        del key
        self.asked.append(box)
        return str(float(sum(v.sum() for v in self.whole.values())))

    def inputs(self, box: PixelBox, key: TileKey) -> list[str]:
        del box, key
        return ["item"]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        del key
        return Cost(float(np.prod(box.shape)), 1)


def shift_table(dx: float, dy: float) -> Fixed:
    return Fixed(xr.Dataset({"dx": ("row", [dx]), "dy": ("row", [dy])}))


@pytest.mark.parametrize("shift", SHIFTS)
def test_lazy_composites_are_moved_as_those_in_memory(shift: tuple[float, float]) -> None:
    eager, lazy = (moved(composites(is_lazy), *shift, 10) for is_lazy in (False, True))
    assert lazy["composite"].chunks is not None
    assert lazy["observations"].chunks is not None
    assert eager["composite"].dtype == np.float32
    assert eager["observations"].dtype == np.uint8
    assert eager.identical(lazy.compute())
    np.testing.assert_array_equal(eager["y"], -np.arange(10.0, 110.0))


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_value_does_not_depend_on_the_box(shift: tuple[float, float]) -> None:
    source = RegisteredSource(Fixed(composites(lazy=False)), shift_table(*shift), most=8)
    whole = source.read(BOX, KEY, None)
    assert whole["composite"].shape == (2, 3, 40, 55)
    part = PixelBox(41, 50, 60, 88)
    rows, cols = part.slices(BOX)
    assert source.read(part, KEY, None).identical(whole.isel(y=rows, x=cols))


def test_it_reads_as_far_as_it_moves() -> None:
    inner = Fixed(composites(lazy=False))
    source = RegisteredSource(inner, (1.5, 0.0), most=8)
    assert source.reach == 10
    source.read(BOX, KEY, None)
    source.digest(BOX, KEY)
    assert inner.asked == [BOX.pad(10)] * 2
    assert source.cost(BOX, KEY).bytes == 60 * 75
    assert list(source.inputs(BOX, KEY)) == ["item"]


def test_its_digest_is_that_of_pixels_and_shift() -> None:
    inner = Fixed(composites(lazy=False))
    one, other = (RegisteredSource(inner, shift_table(dx, 0), 8) for dx in (1.0, 2.0))
    assert one.digest(BOX, KEY) != other.digest(BOX, KEY)
    assert one.digest(BOX, KEY) != inner.digest(BOX, KEY)
    given = [RegisteredSource(inner, (dx, 0.0), 8).digest(BOX, KEY) for dx in (1.0, 2.0)]
    assert len(set(given)) == 2


def test_a_shift_that_is_only_told_decides_nothing() -> None:
    inner = Fixed(composites(lazy=True))
    told = [RegisteredSource(inner, shift_table(dx, 0), 8, moves=False) for dx in (1.0, 2.0)]
    assert told[0].digest(BOX, KEY) == told[1].digest(BOX, KEY) == inner.digest(BOX, KEY)
    assert told[0].reach == 0
    assert told[0].read(BOX, KEY, None).identical(inner.read(BOX, KEY, None))


def test_layers_keep_type_and_nodata() -> None:
    rng = np.random.default_rng(1)
    stored = rng.integers(-500, 500, (60, 70)).astype("int16")
    stored[20, 30] = -32768
    classes = rng.integers(1, 4, (60, 70)).astype("uint8")
    unseen = np.where(rng.random((60, 70)) < 0.05, -1.0, rng.random((60, 70))).astype("float32")
    layers = xr.Dataset(
        {
            "temperature": (("y", "x"), stored, {"nodata": -32768}),
            "classification": (("y", "x"), classes, {"nodata": 255, "flag_values": [1, 2, 3]}),
            "index": (("y", "x"), unseen, {"nodata": -1.0}),
        }
    )
    found = moved(layers, 0.5, 0.0, 4)
    assert {n: v.dtype for n, v in found.items()} == {n: v.dtype for n, v in layers.items()}
    temperature = found["temperature"].values
    assert (temperature == -32768).sum() == 2  # either side of what is not known
    assert temperature[temperature != -32768].min() > -800
    assert set(np.unique(found["classification"])) == {1, 2, 3}
    np.testing.assert_array_equal(found["classification"], classes[4:-4, 5:-3])
    known = found["index"].values[found["index"].values != -1]
    assert known.min() > -0.3
    assert 0.85 < len(known) / found["index"].size < 0.95


def test_digital_numbers_are_related_band_by_band_of_each_time() -> None:
    inner = Fixed(composites(lazy=True))
    gain, offset = np.arange(1.0, 5.0), np.arange(10.0, 14.0)
    table = Fixed(xr.Dataset({"gain": ("row", gain), "offset": ("row", offset)}))
    source = NormalisedSource(inner, table, ("nir", "red"))
    found = source.read(BOX, KEY, None)["composite"]
    assert found.chunks is not None
    assert found.dtype == np.float32
    plain = inner.read(BOX, KEY, None)["composite"]
    for time in (0, 1):
        for number, band in enumerate(("nir", "red")):
            wanted = plain.isel(time=time).sel(band=band) * np.float32(
                gain[2 * time + number]
            ) + np.float32(offset[2 * time + number])
            np.testing.assert_array_equal(found.isel(time=time).sel(band=band), wanted)
    assert found["observations"].identical(plain["observations"])
    given = NormalisedSource(inner, {"nir": (1.0, 10.0), "red": (2.0, 11.0)}, ("nir", "red"))
    first = given.read(BOX, KEY, None)["composite"].isel(time=0)
    np.testing.assert_array_equal(first, found.isel(time=0))
    assert given.digest(BOX, KEY) != source.digest(BOX, KEY) != inner.digest(BOX, KEY)
