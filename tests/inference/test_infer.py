"""Inference around the model: what goes in, what comes out, and what happens without memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, BoxModel, composite

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference import staging as staging_module
from rsscale.inference.heads import ClassHead, first_largest
from rsscale.inference.stack import InputStack
from rsscale.inference.staging import HostStaging, PinnedStaging
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import normalize
from rsscale.prediction.predict import first_windows, predict


def stack_channels(arrays: dict[str, xr.DataArray], inputs: tuple[ModelInput, ...]) -> np.ndarray:
    """The oracle ``(channel, row, col)``: input by input, time by time, band by band."""
    chosen = [arrays[i.name].sel(band=list(i.bands)).values for i in inputs]
    return np.concatenate([a.reshape(-1, *a.shape[-2:]) for a in chosen]).astype(np.float32)


CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"


class Cramped(BoxModel):
    """Has memory for two windows at once."""

    def __init__(self, error: Exception, most: int = 2) -> None:
        super().__init__()
        self.error, self.most = error, most

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        scores = super().__call__(batch)
        if len(batch) > self.most:
            raise self.error
        return scores


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_MESSAGE), MemoryError()],
)
def test_without_memory_the_batch_is_halved(error: Exception) -> None:
    model = Cramped(error)
    found = predict(composite(BOX), model, batch=11)
    want = predict(composite(BOX), BoxModel(), batch=2)
    assert found.attrs["batch"] == want.attrs["batch"] == 2
    assert [shape[0] for shape in model.batches[:3]] == [11, 5, 2]
    assert {shape[0] for shape in model.batches[2:]} == {2}
    assert found.drop_attrs().identical(want.drop_attrs())
    assert found.attrs["non_finite"] == want.attrs["non_finite"]


def test_one_window_that_does_not_fit_is_told() -> None:
    with pytest.raises(ModelError) as caught:
        predict(composite(BOX), Cramped(RuntimeError(CPU_MESSAGE + "\nframe #1"), most=0), batch=4)
    message = str(caught.value)
    assert "one window of 4 channels and 22 px" in message
    assert "smaller stride" in message
    assert "\n" not in message


def test_other_errors_of_a_model_are_not_hidden() -> None:
    model = Cramped(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        predict(composite(BOX), model, batch=4)
    assert len(model.batches) == 1


SPEC = ModelSpec(
    name="two",
    inputs=(
        ModelInput("s2", ("nir", "red"), ("a", "b"), (0.3, 0.1), (0.2, 0.1)),
        ModelInput("dem", ("elevation",), ("always",), (500.0,), (250.0,)),
    ),
    classes=(LandClass(3, "one", "#000000"), LandClass(9, "two", "#ffffff")),
    lattice=Lattice(16, 3),
    architecture="none",
)
SMALL = PixelBox(-3, 5, 40, 60)


def inputs(dtype: str = "float64") -> dict[str, xr.DataArray]:
    optical = composite(SMALL)
    dem = optical.isel(time=[0], band=[0]).drop_vars(["observations", "window"])
    values = np.arange(dem.size, dtype=dtype).reshape(dem.shape)
    values.flags.writeable = False  # as memory maps and broadcasts are
    return {"s2": optical, "dem": dem.copy(data=values).assign_coords(band=["elevation"])}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", ">i2"])
def test_channels_come_in_the_order_of_training(dtype: str) -> None:
    arrays = inputs(dtype)
    stack = InputStack(arrays, SPEC, SMALL)
    out = np.zeros((SPEC.channels, *SMALL.shape), np.float32)
    stack.fill(out, SMALL, stack.choose(SMALL))
    assert np.array_equal(out, stack_channels(arrays, SPEC.inputs), equal_nan=True)


def test_beyond_the_composite_all_is_missing() -> None:
    stack = InputStack(inputs(), SPEC, SMALL)
    box = SMALL.pad(4)
    out = np.zeros((SPEC.channels, *box.shape), np.float32)
    stack.fill(out, box, stack.choose(box))
    inside = SMALL.slices(box)
    assert np.array_equal(out[(..., *inside)], stack_channels(inputs(), SPEC.inputs), True)
    out[(..., *inside)] = np.nan
    assert np.isnan(out).all()
    far = PixelBox(900, 900, 910, 910)
    stack.fill(out[:, :10, :10], far, stack.choose(far))
    assert np.isnan(out[:, :10, :10]).all()
    assert not stack.seen(far).any()
    assert not stack.observations(far).any()


def test_elevation_alone_is_not_to_have_seen() -> None:
    arrays = inputs()
    stack = InputStack(arrays, SPEC, SMALL)
    seen = np.isfinite(arrays["s2"].values).any(axis=(0, 1))
    assert not seen.all()
    assert np.array_equal(stack.seen(SMALL), seen)
    bare = {
        name: array.drop_vars("observations", errors="ignore") for name, array in arrays.items()
    }
    assert InputStack(bare, SPEC, SMALL).seen(SMALL).all()


def test_observations_saturate() -> None:
    arrays = inputs()
    arrays["s2"]["observations"][:] = 200
    assert (InputStack(arrays, SPEC, SMALL).observations(SMALL) == 254).all()


WINDOWS = [core.pad(3) for core in Lattice(16, 3).cores(SMALL)]


def want_images(stack: InputStack, windows: list[PixelBox], batch: int) -> torch.Tensor:
    raw = np.full((batch, SPEC.channels, 22, 22), np.nan, np.float32)
    for image, window in zip(raw, windows, strict=False):
        stack.fill(image, window, stack.choose(window))
    return normalize(torch.from_numpy(raw), SPEC)


def test_staging_is_filled_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_module, "rows_in_cache", lambda _: 5)  # does not divide 22
    stack = InputStack(inputs(), SPEC, SMALL)
    staging = HostStaging(SPEC, 3, torch.device("cpu"))
    for group in (WINDOWS[:3], WINDOWS[3:6], WINDOWS[6:7]):
        images = staging.load(stack, group).channels
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, want_images(stack, group, 3))
        images.fill_(float("nan"))  # a network may work in place


def test_pinned_buffers_are_not_filled_before_they_were_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA's events and page-locked memory are played by the CPU."""
    log: list[tuple[str, int]] = []

    class Event:
        made = 0

        def __init__(self) -> None:
            self.number, Event.made = Event.made, Event.made + 1

        def record(self, stream: str) -> None:
            assert stream == "the stream"
            log.append(("record", self.number))

        def synchronize(self) -> None:
            log.append(("wait", self.number))

    full = torch.full

    def pinned(*args: object, pin_memory: bool, **options: object) -> torch.Tensor:
        assert pin_memory
        return full(*args, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "the stream")
    monkeypatch.setattr(torch, "full", pinned)
    stack = InputStack(inputs(), SPEC, SMALL)
    staging = PinnedStaging(SPEC, 2, torch.device("cpu"))
    for group in (WINDOWS[:2], WINDOWS[2:4], WINDOWS[4:6], WINDOWS[6:7]):
        assert torch.equal(staging.load(stack, group).channels, want_images(stack, group, 2))
    assert log == [(what, slot) for slot in (0, 1, 0, 1) for what in ("wait", "record")]


@pytest.mark.parametrize("classes", [1, 2, 9, 255])
def test_the_first_of_equals_is_the_class(classes: int) -> None:
    random = np.random.default_rng(classes)
    steps = random.integers(0, 4, (classes, 17, 31)).astype(np.float32) / 4
    steps[:, 3, 4] = np.nan
    best, index = first_largest(torch.from_numpy(steps))
    want, where = torch.from_numpy(steps).max(dim=0)
    assert torch.equal(best.nan_to_num(-1), want.nan_to_num(-1))
    index[3, 4] = where[3, 4] = 0
    assert torch.equal(index, where)


def test_percent_is_rounded_and_no_number_is_nodata() -> None:
    nan = float("nan")
    probability = torch.tensor([[[0.499, 0.996, nan]], [[0.501, 0.004, nan]]])
    classes = (LandClass(3, "a", "#000000"), LandClass(9, "b", "#ffffff"))
    head = ClassHead(replace(SPEC, classes=classes), ClassOutput(), torch.device("cpu"))
    layers, bad = head.encode(probability, {"probability"})
    assert {k: v.tolist() for k, v in layers.items()} == {
        "classification": [[9, 3, 255]],
        "confidence": [[50, 100, 255]],
        "probability": [[[50, 100, 255]], [[50, 0, 255]]],
    }
    assert bad.tolist() == [[False, False, True]]
    assert set(head.encode(probability, ())[0]) == {"classification", "confidence"}


def test_first_windows_are_what_the_model_sees() -> None:
    model = BoxModel()
    comp = composite(BOX, gaps=False)
    comp.values[:, :, :12, :20] = np.nan  # the first window's core lies in here
    seen: list[torch.Tensor] = []

    class Watching(BoxModel):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch.clone())
            return super().__call__(batch)

    predict(comp, Watching())
    windows = first_windows(comp, model.spec, count=3)
    assert torch.equal(windows.channels, torch.cat(seen[:3]))
    assert first_windows(comp, model.spec, count=1000).count == len(seen)
