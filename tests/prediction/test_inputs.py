"""Arrays for a model: by name and never by position; declared nodata is missing."""

import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, BoxModel, composite

from rsscale.errors import AreaError, ModelError
from rsscale.learn.model import Model
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.prediction.inputs import model_inputs
from rsscale.prediction.predict import predict

SPEC = BoxModel().spec
ONE = ModelSpec(
    "one", (ModelInput("s2", ("red",), ("a",), (0.0,), (1.0,)),), SPEC.classes, SPEC.lattice, "own"
)


def classes(comp: xr.DataArray) -> np.ndarray:
    return predict(comp, BoxModel()).classification.values


@pytest.mark.parametrize(
    "dims",
    [("band", "time", "y", "x"), ("time", "band", "x", "y"), ("time", "y", "x", "band"),
     ("x", "y", "band", "time")],
)  # fmt: skip
@pytest.mark.parametrize("lazy", [False, True])
def test_dimensions_are_taken_by_name(dims: tuple[str, ...], lazy: bool) -> None:
    comp = composite(BOX)
    turned = comp.transpose(*dims)
    turned = turned.chunk(y=20, x=30) if lazy else turned
    found = predict(turned, BoxModel())
    assert np.array_equal(found.classification.values, classes(comp))
    assert np.array_equal(found.observations.values, predict(comp, BoxModel()).observations.values)


def test_space_may_have_other_names() -> None:
    comp = composite(BOX)
    renamed = comp.rename(y="latitude", x="longitude")
    assert np.array_equal(classes(renamed), classes(comp))


def test_windows_may_be_a_dimension_of_their_own() -> None:
    comp = composite(BOX)
    assert np.array_equal(classes(comp.swap_dims(time="window")), classes(comp))


def test_one_date_and_one_band_may_have_lost_their_dimension() -> None:
    comp = composite(BOX)
    whole = model_inputs(comp.isel(time=[0], band=[0]), ONE)["s2"]
    for part in (comp.isel(time=0), comp.isel(time=0, band=0), comp.isel(band=0).isel(time=[0])):
        found = model_inputs(part, ONE)["s2"]
        assert found.dims == ("time", "band", "y", "x")
        assert np.array_equal(found.sel(band=["red"]), whole, equal_nan=True)
        assert found.observations.dims == ("time", "y", "x")


def test_dimensions_that_are_missing_or_too_many_are_named() -> None:
    comp = composite(BOX)
    with pytest.raises(ModelError, match=r"says of which time window.*assign_coords"):
        model_inputs(comp.isel(time=0, drop=True), ONE)
    with pytest.raises(ModelError, match="does not name its bands"):
        model_inputs(comp.drop_vars("band"), SPEC)
    with pytest.raises(ModelError, match="'scene' is one too many"):
        model_inputs(comp.expand_dims(scene=2), SPEC)
    with pytest.raises(ModelError, match=r"is a Dataset.*to_dataarray"):
        model_inputs({"s2": comp.to_dataset("band")}, SPEC)
    with pytest.raises(ModelError, match="'red' more than once"):
        model_inputs(comp.assign_coords(band=["red", "red"]).isel(band=[0, 1]), ONE_OF_RED)


ONE_OF_RED = ModelSpec(
    "red", (ModelInput("s2", ("red",), ("a", "b"), (0.0,), (1.0,)),), SPEC.classes, SPEC.lattice,
    "own",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
@pytest.mark.parametrize(
    "declared", [{"nodata": -9999}, {"_FillValue": np.float32(-9999)}, {"missing_value": "-9999"}]
)
@pytest.mark.parametrize("place", ["attrs", "encoding"])
def test_declared_nodata_is_missing(dtype: str, declared: dict, place: str) -> None:
    comp = composite(BOX, gaps=False)
    values = (comp * 100).astype(dtype)
    values[..., :10, :] = -9999
    values.attrs, values.encoding = {}, {}
    setattr(values, place, declared)
    found = predict(values, BoxModel())
    assert (found.classification.values[:10] == 255).all()
    assert (found.classification.values[10:] != 255).all()
    masked = values.astype("float32").where(values != -9999)
    masked.attrs, masked.encoding = {}, {}
    assert np.array_equal(found.classification.values, classes(masked))
    lazy = values.chunk(y=30, x=30)
    setattr(lazy, place, declared)
    assert np.array_equal(classes(lazy), found.classification.values)


def test_nodata_that_a_type_cannot_hold_changes_nothing() -> None:
    comp = (composite(BOX, gaps=False) * 100).astype("uint8")
    for nodata in (-9999, 256, 0.5, np.nan, None, "nan"):
        comp.attrs = {"nodata": nodata}
        assert model_inputs(comp, SPEC)["s2"].dtype == np.uint8


def test_nodata_and_scales_that_can_not_be_honoured_are_refused_by_name() -> None:
    comp = composite(BOX, gaps=False)
    with pytest.raises(ModelError, match=r"nodatavals=.*another for each band"):
        model_inputs(comp.assign_attrs(nodatavals=(0.0, 1.0)), SPEC)
    with pytest.raises(ModelError, match="nodata='none at all', which is no number"):
        model_inputs(comp.assign_attrs(nodata="none at all"), SPEC)
    with pytest.raises(ModelError, match=r"scale_factor=0\.0001.*decode it"):
        model_inputs(comp.assign_attrs(scale_factor=0.0001), SPEC)
    with pytest.raises(ModelError, match="holds complex64"):
        model_inputs(comp.astype("complex64"), SPEC)
    model_inputs(comp.assign_attrs(scale_factor=1.0, add_offset=0.0, nodatavals=(0.0, 0.0)), SPEC)


def test_infinite_values_are_missing_as_nan_is() -> None:
    comp, gap = composite(BOX, gaps=False), composite(BOX, gaps=False)
    comp.values[:, :, 20:30, 20:30] = np.inf
    comp.values[:, :, 5, 5] = -np.inf
    gap.values[~np.isfinite(comp.values)] = np.nan
    assert np.array_equal(classes(comp), classes(gap))


def test_rows_that_run_north_are_refused_with_what_to_do() -> None:
    comp = composite(BOX)
    for axis in ("y", "x"):
        with pytest.raises(AreaError, match=rf"turn it round with \.isel\({axis}=slice") as error:
            predict(comp.isel({axis: slice(None, None, -1)}), BoxModel())
        assert len(str(error.value)) < 300


def test_pixels_that_are_left_out_are_told() -> None:
    comp = composite(BOX)
    for axis in ("y", "x"):
        for gone in (1, 30, comp.sizes[axis] - 2):
            with pytest.raises(AreaError, match=f"coordinates {axis} are not evenly spaced: 10 to"):
                predict(comp.drop_isel({axis: gone}), BoxModel())
    rounded = comp.assign_coords(x=comp.x.astype("float32"), y=comp.y.astype("float32"))
    assert np.array_equal(classes(rounded), classes(comp))


def test_a_network_in_training_is_refused() -> None:
    class Dropping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dropout(x)[:, :2]

    model = Model(BoxModel().spec, Dropping(), torch.device("cpu"))
    with pytest.raises(ModelError, match=r"in the mode of training, .* its Dropout .*eval\(\)"):
        predict(composite(BOX), model)
    model.module.eval()
    assert predict(composite(BOX), model).sizes["y"] == BOX.shape[0]


def test_pixels_beside_the_grid_name_the_origin_that_fits() -> None:
    comp = composite(BOX, gaps=False)
    moved = comp.assign_coords(x=comp.x + 5, y=comp.y + 5)
    with pytest.raises(
        AreaError, match=r"origin=\(5\.0, 5\.0\), in a recipe grid\.origin"
    ) as error:
        predict(moved, BoxModel())
    assert "PROJCRS" not in str(error.value)
    assert len(str(error.value)) < 400
    assert np.array_equal(
        predict(moved, BoxModel(), origin=(5, 5)).classification.values, classes(comp)
    )


def test_inputs_whose_corners_differ_by_rounding_lie_on_the_same_pixels() -> None:
    spec = ModelSpec(
        "two", (*SPEC.inputs, ModelInput("dem", ("h",), ("a",), (0.0,), (1.0,))), SPEC.classes,
        SPEC.lattice, "own",
    )  # fmt: skip
    comp = composite(BOX)
    dem = comp.isel(time=[0], band=[0]).assign_coords(band=["h"])
    model_inputs({"s2": comp, "dem": dem.assign_coords(x=dem.x + 1e-9)}, spec)
    with pytest.raises(AreaError, match="input 'dem' lies on 61 x 74 px of 10 from"):
        model_inputs({"s2": comp, "dem": dem.assign_coords(x=dem.x + 1)}, spec)


def test_where_is_taken_by_name_and_place() -> None:
    comp = composite(BOX, gaps=False)
    wanted = xr.zeros_like(comp.isel(time=0, band=0, drop=True), bool)
    wanted[:20, :30] = True
    expected = predict(comp, BoxModel(), where=wanted.values)
    found = predict(comp, BoxModel(), where=wanted.transpose("x", "y"))
    assert np.array_equal(found.classification.values, expected.classification.values)
    with pytest.raises(AreaError, match="where has x from"):
        predict(comp, BoxModel(), where=wanted.assign_coords(x=wanted.x + 10))
    with pytest.raises(AreaError, match="where holds float64"):
        predict(comp, BoxModel(), where=np.full(BOX.shape, np.nan))


def test_counts_that_a_file_gave_back_as_floats() -> None:
    comp = composite(BOX)
    floats = comp.assign_coords(observations=comp.observations.astype("float32"))
    floats.observations.values[:, :3, :3] = np.nan
    expected = predict(comp, BoxModel()).observations.values.copy()
    expected[:3, :3] = 0
    assert np.array_equal(predict(floats, BoxModel()).observations.values, expected)


def test_what_is_no_model_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"a Conv2d does not say what it reads.*Model\.of\("):
        predict(composite(BOX), torch.nn.Conv2d(4, 2, 1))
