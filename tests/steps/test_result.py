"""What a pass gives for a tile is stored by position, so that each axis must be what it says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import dask.array as da
import numpy as np
import pytest
import shapely
import xarray as xr

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RsscaleError
from rsscale.functions.call import UserFunction
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Axis, Layer, TileKey
from rsscale.steps.base import Block, Pass, Resources, Result
from rsscale.steps.evaluate import evaluate

TEXTURE = Layer("texture", "float32", float("nan"))
SHARE = Layer("share", "uint8", 255, axis=Axis("class", (1, 2, 4)))
CORE = PixelBox(100, 200, 116, 216)  # square: no shape tells its axes apart
GRID = Grid("EPSG:32631", 10, 64)
EVERYWHERE = shapely.box(-1e7, -1e7, 1e7, 1e7)


@dataclass(repr=False, kw_only=True)
class Given(Pass):
    """A pass that gives what a test says."""

    kind: ClassVar[str] = "given"
    version: ClassVar[str] = "1"
    facts: ClassVar[Any] = {"trees": "sum"}
    give: Callable[[Block], Result]
    layers: tuple[Layer, ...] = (TEXTURE,)
    sources: Mapping[str, Any] = field(default_factory=dict)
    step: str = "rough"
    halo: int = 2

    @classmethod
    def open(cls, *_: Any) -> Any:
        raise NotImplementedError

    def spans(self) -> Sequence[str]:
        return ("2023",)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def run(self, block: Block) -> Result:
        return self.give(block)


def computed(give: Callable[[Block], Any], shape: Any = EVERYWHERE, *layers: Layer) -> Result:
    """The checked result of a pass over the core."""
    step = Given(give=give, layers=layers or (TEXTURE,))
    key = TileKey("rough", "2023", 3, -2)
    resources = Resources(NumericProfile("cpu", 1))
    return evaluate(step, key, CORE, grid=GRID, shape=shape, resources=resources).result


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def dataset(block: Block) -> xr.Dataset:
    return block.dataset([TEXTURE], {"texture": ramp(16, 16)})


def test_axes_in_another_order_are_taken_by_their_names() -> None:
    straight = computed(lambda block: Result(layers=dataset(block)))
    turned = computed(lambda block: Result(layers=dataset(block).transpose("x", "y")))
    bare = {"texture": (("x", "y"), ramp(16, 16).T)}
    without = computed(lambda _: Result(layers=xr.Dataset(bare)))
    for result in (straight, turned, without):
        np.testing.assert_array_equal(result.layers.texture.values, ramp(16, 16))
    share = np.arange(3 * 256, dtype=np.uint8).reshape(3, 16, 16)
    last = {"share": (("y", "x", "class"), np.moveaxis(share, 0, -1))}
    found = computed(lambda _: Result(layers=xr.Dataset(last)), EVERYWHERE, SHARE)
    np.testing.assert_array_equal(found.layers.share.values, share)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.rename(y="lat", x="lon"), r"dimensions \(lat, lon\), expected are \(y, x\)"),
        (lambda d: d.rename(y="rows"), r"dimensions \(rows, x\), expected are \(y, x\)"),
        (lambda d: d.drop_vars(["y", "x"]).swap_dims(y="row", x="col"), r"\(row, col\)"),
        (lambda d: d.sortby("y"), r"with y from -1155.0 to -1005.0 \(16\), expected is -1005.0 to"),
        (lambda d: d.isel(x=slice(None, None, -1)), r"with x from 2155.0 to 2005.0"),
        (lambda d: d.assign_coords(x=d.x + 10), r"with x from 2015.0"),
        (lambda d: d.assign_coords(y=range(16)), r"with y from 0 to 15 \(16\)"),
        (lambda d: d.assign_coords(y=list("abcdefghijklmnop")), r"with y from a to p"),
    ],
)
def test_axes_that_lie_elsewhere_are_refused(change: Any, said: str) -> None:
    with pytest.raises(RsscaleError, match=rf"step 'rough' gave layer 'texture' .*{said}"):
        computed(lambda block: Result(layers=change(dataset(block))))


def test_classes_in_another_order_are_refused() -> None:
    def give(block: Block) -> Result:
        share = block.dataset([SHARE], {"share": np.zeros((3, 16, 16), np.uint8)})
        return Result(layers=share.isel({"class": [2, 1, 0]}))

    with pytest.raises(RsscaleError, match=r"'share' with class from 4 to 1 \(3\), expected is 1"):
        computed(give, EVERYWHERE, SHARE)


def test_coordinates_that_were_rounded_are_the_same() -> None:
    def give(block: Block) -> Result:
        layers = dataset(block)
        return Result(layers=layers.assign_coords(y=layers.y.astype("float32") + 0.3))

    assert computed(give).layers is not None


def test_a_lazy_result_is_nodata_outside_the_area() -> None:
    west = shapely.box(0, -1e7, 2080, 1e7)  # half of the core
    lazy = {"texture": (("y", "x"), da.from_array(ramp(16, 16), chunks=8))}
    values = computed(lambda _: Result(layers=xr.Dataset(lazy)), west).layers.texture.values
    np.testing.assert_array_equal(values[:, :8], ramp(16, 16)[:, :8])
    assert np.isnan(values[:, 8:]).all()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "no array for layer 'texture', only for none"),
        ({"textur": ramp(16, 16)}, "no array for layer 'texture', only for textur"),
        ({"texture": ramp(16, 16), "count": ramp(16, 16)}, "an array 'count', declared are"),
        ({"texture": ramp(16, 16), "textures": 0}, "did you mean 'texture'"),
        ({"texture": ramp(20, 20)}, r"\(20, 20\), expected is \(16, 16\).*array\[block.inside\]"),
        ({"texture": ramp(16, 15)}, r"'texture' as \(16, 15\), expected is \(16, 16\)"),
        ({"texture": ramp(1, 16, 16)}, r"as \(1, 16, 16\), expected is \(16, 16\)"),
        ({"texture": xr.DataArray(ramp(16, 16), dims=("a", "b"))}, r"dimensions \(a, b\)"),
        (
            {"texture": xr.DataArray(ramp(16, 16), [("y", range(16)), ("x", range(16))])},
            "with y from 0 to 15",
        ),
    ],
)
def test_arrays_that_are_not_the_declared_layers_of_the_tile(arrays: Any, said: str) -> None:
    with pytest.raises(RsscaleError, match=f"step 'rough' gave .*{said}"):
        computed(lambda block: Result(layers=block.dataset([TEXTURE], arrays)))


@pytest.mark.parametrize("wrong", ["many", float("nan"), np.float32("inf"), [1, 2], 1j])
def test_a_fact_that_is_no_finite_number_fails_its_tile(wrong: Any) -> None:
    with pytest.raises(RsscaleError, match=r"'rough' gave the fact 'trees' as .*a finite number"):
        computed(lambda block: Result(layers=dataset(block), facts={"trees": wrong}))


@pytest.mark.parametrize("right", [3, np.int64(3), np.float32(3), np.array(3), xr.DataArray(3)])
def test_a_fact_of_numpy_is_a_number(right: Any) -> None:
    facts = computed(lambda block: Result(layers=dataset(block), facts={"trees": right})).facts
    assert facts == {"trees": 3}
    assert type(facts["trees"]) in (int, float)


@pytest.mark.parametrize("halo", [0, 2])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("dim", ["y", "x"])
def test_a_function_gives_its_pixels_in_the_order_of_the_tile(
    halo: int, crop: bool, dim: str
) -> None:
    width = 8 + 2 * halo
    given = xr.DataArray(ramp(width, width), [("y", -10.0 * np.arange(width)), ("x", range(width))])

    def values(turn: bool) -> np.ndarray:
        def function(inputs: Any) -> xr.Dataset:
            array = inputs["map"]["a"]
            if crop and halo:
                array = array[halo:-halo, halo:-halo]
            return array.isel({dim: slice(None, None, -1 if turn else 1)}).to_dataset(
                name="texture"
            )

        made = UserFunction("turned", function, (TEXTURE,), halo)
        return made.values({"map": given.to_dataset(name="a")}, (8, 8), "tile t")["texture"]

    np.testing.assert_array_equal(values(False), given[halo : halo + 8, halo : halo + 8])
    with pytest.raises(
        RsscaleError, match=rf"'turned' returned layer 'texture' on tile t with {dim}"
    ):
        values(True)
