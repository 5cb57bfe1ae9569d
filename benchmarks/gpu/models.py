"""Networks, heads, blending, bfloat16, compilation and memory: maps of the device and the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from odc.geo.xr import xr_coords

import rsscale as rs
from benchmarks.gpu.rows import Row, compared_maps, timed
from rsscale.errors import RsscaleError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.layers import Layer
from rsscale.learn.accelerate import accelerate
from rsscale.learn.architectures import ARCHITECTURES, build
from rsscale.learn.model import Model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ClassOutput, EmbeddingOutput, Output, ValueOutput
from rsscale.model.spec import ModelSpec

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
WINDOWS = ("spring", "summer", "autumn")
COUNT, SERIES, BATCH = 6, 12, 4
# Convolutions on a card round to the 10 bits of TF32, which torch allows them by default.
_FLOAT32, _BFLOAT16 = (0.999, 3.0), (0.97, 30.0)
_CLASSES = tuple(LandClass(k + 1, f"class {k}", f"#{k * 40:02x}8040") for k in range(COUNT))
GRID = Grid("EPSG:32631", 10)


def network_rows(device: str, quick: bool) -> Iterator[Row]:
    """A row for each network that rsscale has by name; the U-Net with both ways of blending."""
    for name in ARCHITECTURES:
        yield _row(f"network {name}", model_of(name, quick), device, quick, _FLOAT32)
    trim = model_of("unet", quick)
    hann = replace(trim, spec=replace(trim.spec, lattice=replace(trim.spec.lattice, blend="hann")))
    yield _row("network unet, hann", hann, device, quick, _FLOAT32)


def head_rows(device: str, quick: bool) -> Iterator[Row]:
    """A row for each head beside softmax: sigmoid, values, embeddings."""
    values = ValueOutput(
        (Layer("height", "uint16", 65535, scale=0.01), Layer("cover", "float32", -9999.0))
    )
    heads = {
        "sigmoid": (ClassOutput("sigmoid"), 1, _FLOAT32),
        "values": (values, 2, (0.0, 5.0)),
        "embedding int8": (EmbeddingOutput(16, "int8"), 16, (0.0, 2.0)),
        "embedding float32": (EmbeddingOutput(16, "float32"), 16, (0.0, 0.02)),
    }
    for name, (output, outputs, allowed) in heads.items():
        model = model_of("unet", quick, output=output, outputs=outputs)
        yield _row(f"head {name}", model, device, quick, allowed)


def accelerated_rows(device: str, quick: bool) -> Iterator[Row]:
    """The U-Net in bfloat16, compiled, and both."""
    for precision, compiled in (("bfloat16", False), ("float32", True), ("bfloat16", True)):
        name = f"unet {precision}{', compiled' if compiled else ''}"
        allowed = _BFLOAT16 if precision == "bfloat16" else _FLOAT32
        plain = on(model_of("unet", quick), device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a model that was not compiled is told so
                model = accelerate(plain, precision=precision, compile=compiled, batch=BATCH)
        except (RsscaleError, RuntimeWarning, UserWarning) as error:  # the others go on
            needed = 0.0 if device == "cpu" else 1.0
            yield Row(name, 0.0, 0.0, "", (needed, 0.0), note=str(error)[:90])
            continue
        yield _row(name, model_of("unet", quick), device, quick, allowed, ours=model)


def memory_row(device: str, quick: bool) -> Iterator[Row]:
    """A batch larger than the card takes is halved until it fits, and the map is that of it."""
    if not device.startswith("cuda"):
        return  # the CPU's memory can't be limited so
    model, composite = on(model_of("unet", quick), device), image(PixelBox(0, 0, 2048, 2048))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 3e9 / total))
    try:
        ours = rs.predict(composite, model, probability=True, batch=64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    batch = int(ours.attrs["batch"])
    theirs = rs.predict(composite, model, probability=True, batch=batch)
    agreement, largest = compared_maps(ours, theirs)
    note = f"batch 64 became {batch} in 3 GB"
    yield Row("too large a batch", agreement * (batch < 64), largest, "", (1.0, 0.0), note=note)


def _row(
    name: str,
    model: Model,
    device: str,
    quick: bool,
    allowed: tuple[float, float],
    *,
    ours: Model | None = None,
) -> Row:
    """A model's map of one box by the device and by the CPU."""
    box = PixelBox(-37, 1005, 27, 1069) if quick else PixelBox(-37, 1005, 475, 1517)
    composites = {i.name: series(box) if i.series else image(box) for i in model.spec.inputs}
    more: dict[str, Any] = {
        "batch": BATCH,
        "probability": isinstance(model.spec.output, ClassOutput),
    }
    given = ours or on(model, device)
    on_device, device_s = timed(lambda: rs.predict(composites, given, **more), device, 1)
    theirs, cpu_s = timed(lambda: rs.predict(composites, model, **more), "cpu", 0)
    agreement, largest = compared_maps(on_device, theirs)
    note = f"{box.shape[0] * box.shape[1] / device_s / 1e6:.2f} million px/s"
    return Row(name, agreement, largest, "", allowed, cpu_s, device_s, note)


def on(model: Model, device: str) -> Model:
    """A model on a device."""
    target = torch.device(device)
    return replace(model, module=deepcopy(model.module).to(target), device=target)


def model_of(
    architecture: str, quick: bool, *, output: Output | None = None, outputs: int = COUNT
) -> Model:
    """An untrained network."""
    torch.manual_seed(0)
    spec = _spec(architecture, quick)
    if output is not None:
        classes = _CLASSES[:2] if isinstance(output, ClassOutput) else ()
        spec = replace(spec, output=output, classes=classes)
    module = build(architecture, spec.inputs, outputs, **dict(spec.hyperparameters)).eval()
    return Model(spec, module, torch.device("cpu"))


def _spec(architecture: str, quick: bool) -> ModelSpec:
    known = ARCHITECTURES[architecture]
    scaled = ((0.35,) * len(BANDS), (0.15,) * len(BANDS))
    seasons = ModelInput("s2", BANDS, WINDOWS, *scaled)
    dated = ModelInput("series", BANDS, (), *scaled, series=SERIES, takes=known.takes)
    inputs: tuple[ModelInput, ...] = (dated,) if known.takes else (seasons,)
    if architecture == "fusion":
        inputs = (replace(seasons, takes=known.takes), dated)
    unet = {"width": 8, "depth": 2} if quick else {"width": 32, "depth": 4}
    stride, halo = (32, 16) if quick else (256, 64)
    return ModelSpec(
        name=architecture,
        inputs=inputs,
        classes=_CLASSES,
        lattice=Lattice(stride, halo if architecture in ("unet", "utae") else 0),
        architecture=architecture,
        hyperparameters=unet if architecture == "unet" else {},
        layout=known.layout,
        resolution=10.0,
    )


def image(box: PixelBox) -> xr.DataArray:
    """Composites of seasons ``(time, band, y, x)``, with gaps."""
    days = np.array(["2023-04-15", "2023-07-15", "2023-09-15"], "datetime64[ns]")
    return _array(box, days).assign_coords(window=("time", list(WINDOWS)))


def series(box: PixelBox) -> xr.DataArray:
    """A series of observations ``(time, band, y, x)``, with gaps."""
    days = np.datetime64("2023-01-10", "ns") + np.arange(SERIES) * np.timedelta64(29, "D")
    return _array(box, days)


def _array(box: PixelBox, days: Any) -> xr.DataArray:
    random = np.random.default_rng(1)
    values = random.random((len(days), len(BANDS), *box.shape), dtype=np.float32)
    seen = random.random((len(days), *box.shape)) > 0.2
    values[~np.broadcast_to(seen[:, None], values.shape)] = np.nan
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": days,
            "band": list(BANDS),
            "observations": (("time", "y", "x"), seen.astype(np.uint8)),
            **{str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()},
        },
    )
