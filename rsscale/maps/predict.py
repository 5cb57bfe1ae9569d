"""A model over a composite: windows of the global lattice, trimmed, quantised.

The same function serves a notebook and a country. A window is read, predicted and trimmed
where the lattice says, whatever box was asked for; so two calls over overlapping boxes give
the same values wherever both had the model's context.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from rsscale.data.channels import stack_channels
from rsscale.errors import AreaError, ModelError
from rsscale.grid import Grid, PixelBox
from rsscale.modelspec import NODATA, ModelSpec, Predictor, class_attributes

if TYPE_CHECKING:
    import torch

_MAX_LOOKS = 254


def predict(
    composite: xr.DataArray | Mapping[str, xr.DataArray],
    model: Predictor,
    *,
    core: GeoBox | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    where: np.ndarray | None = None,
    probability: bool = False,
    batch: int = 1,
) -> xr.Dataset:
    """Map the classes of a model over a composite.

    Parameters
    ----------
    composite : DataArray or mapping of name to DataArray
        ``(time, band, y, x)`` float32, NaN where nothing was seen, as
        :func:`rsscale.composite` returns it; one for each input of the model, all on the
        same GeoBox. Lazy arrays are computed here.
    model : Model
        From :func:`rsscale.open_model`.
    core : GeoBox, optional
        Where the map is wanted; the composite's own box when omitted. Pixels that a window
        needs beyond the composite are missing values to the model.
    origin : (float, float)
        The grid's origin, which the windows are counted from, in CRS units.
    where : bool array (y, x), optional
        Pixels of ``core`` to map; the others are nodata in every layer.
    probability : bool
        Also return the probability of every class.
    batch : int
        Windows that the model sees at once. Part of the numeric profile: another batch may
        move a confidence by one percent.

    Returns
    -------
    xarray.Dataset
        ``(y, x)`` uint8, in memory: ``classification`` holding class values, ``confidence``
        in percent, ``observations`` (clear looks over all time windows, saturating at 254)
        and, if asked, ``probability (class, y, x)`` in percent. 255 is nodata: outside
        ``where``, or never seen clearly. Attribute ``non_finite`` counts pixels for which
        the model returned no number; they are nodata too.

    Raises
    ------
    ModelError
        When the inputs' bands or time windows are not the model's.
    """
    inputs = _computed(_named(composite, model.spec))
    reference = next(iter(inputs.values()))
    source = _geobox(reference)
    grid = Grid(str(source.crs), source.affine.a, origin=origin)
    read = grid.box_of(source)
    kept = grid.box_of(core) if core is not None else read
    images = stack_channels(inputs, model.spec.inputs)
    looking = _looking(inputs, model.spec)
    looks = _looks(inputs, reference.shape[-2:])
    wanted = np.ones(kept.shape, bool) if where is None else np.asarray(where, bool)

    layers = _empty_layers(kept, len(model.spec.classes) if probability else 0)
    non_finite = _fill(
        layers, images, model, read, kept, looking=looking, wanted=wanted, batch=batch
    )
    observations = _crop(looks, read, kept, fill=0)
    layers["observations"] = np.where(wanted, observations, NODATA).astype(np.uint8)
    dataset = _dataset(layers, grid.geobox_of(kept), model.spec)
    dataset.attrs["non_finite"] = non_finite
    return dataset


def _named(
    composite: xr.DataArray | Mapping[str, xr.DataArray], spec: ModelSpec
) -> dict[str, xr.DataArray]:
    """Inputs by name in the model's order, checked against its contract."""
    if isinstance(composite, xr.DataArray):
        composite = {spec.inputs[0].name: composite}
    missing = [i.name for i in spec.inputs if i.name not in composite]
    if missing:
        raise ModelError(
            f"model {spec.name!r} wants the inputs {[i.name for i in spec.inputs]}, "
            f"found {list(composite)}; {missing[0]!r} is missing"
        )
    inputs = {i.name: composite[i.name] for i in spec.inputs}
    boxes = {name: _geobox(array) for name, array in inputs.items()}
    first = next(iter(boxes.values()))
    for name, array in inputs.items():
        if boxes[name] != first:
            raise AreaError(f"input {name!r} lies on {boxes[name]}, the first input on {first}")
        spec.check_input(name, [str(b) for b in array.band.values], window_names(array))
    return inputs


def window_names(composite: xr.DataArray) -> tuple[str, ...]:
    """Names of a composite's time windows, as a model's contract knows them."""
    if "window" in composite.coords:
        return tuple(str(name) for name in np.atleast_1d(composite["window"].values))
    return tuple(str(time) for time in composite["time"].values)


def _geobox(array: xr.DataArray) -> GeoBox:
    box = array.odc.geobox
    if not isinstance(box, GeoBox):
        raise AreaError(
            "the composite has no georeference; it needs x, y and spatial_ref coordinates "
            "as rsscale.load gives them"
        )
    return box


def _computed(inputs: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Inputs in memory; values and looks come out of one graph, so nothing is read twice."""
    import dask

    # Explicitly threads: inside a worker the default would submit to the cluster again.
    arrays = dask.compute(*inputs.values(), scheduler="threads")
    return dict(zip(inputs, arrays, strict=True))


def _looks(inputs: Mapping[str, xr.DataArray], shape: tuple[int, ...]) -> np.ndarray:
    """Clear looks over all inputs and time windows, uint8."""
    total = np.zeros(shape, np.int32)
    for array in inputs.values():
        if "observations" in array.coords:
            total += array["observations"].values.astype(np.int32).sum(axis=0)
    return np.minimum(total, _MAX_LOOKS).astype(np.uint8)


def _looking(inputs: Mapping[str, xr.DataArray], spec: ModelSpec) -> np.ndarray:
    """Which channels tell that a pixel was seen: not those of layers that never change.

    An input without ``observations``, such as elevation, is known everywhere: it must not make
    a class of what no sensor saw. When no input counts its looks, all channels tell.
    """
    counted = [("observations" in inputs[one.name].coords, one.channels) for one in spec.inputs]
    flags = np.concatenate([np.full(channels, flag) for flag, channels in counted])
    return flags if flags.any() else ~flags


def _crop(array: np.ndarray, have: PixelBox, want: PixelBox, *, fill: float) -> np.ndarray:
    """``array (..., row, col)`` over ``have``, cut and padded with ``fill`` to ``want``."""
    inside = have & want
    if inside == want:
        return array[(..., *want.slices(have))]
    out = np.full((*array.shape[:-2], *want.shape), fill, array.dtype)
    if not inside.empty:
        out[(..., *inside.slices(want))] = array[(..., *inside.slices(have))]
    return out


def _empty_layers(box: PixelBox, classes: int) -> dict[str, np.ndarray]:
    layers = {
        "classification": np.full(box.shape, NODATA, np.uint8),
        "confidence": np.full(box.shape, NODATA, np.uint8),
    }
    if classes:
        layers["probability"] = np.full((classes, *box.shape), NODATA, np.uint8)
    return layers


def _fill(
    layers: dict[str, np.ndarray],
    images: np.ndarray,
    model: Predictor,
    read: PixelBox,
    kept: PixelBox,
    *,
    looking: np.ndarray,
    wanted: np.ndarray,
    batch: int,
) -> int:
    """Predict all windows that touch ``kept`` and write their kept parts; count bad pixels."""
    lattice = model.spec.lattice
    # A window in which nothing was seen, or nothing is wanted, can't change the map.
    cores = [
        core
        for core in lattice.cores(kept)
        if _anything(images, looking, read, core & kept)
        and wanted[(core & kept).slices(kept)].any()
    ]
    non_finite = 0
    for start in range(0, len(cores), batch):
        group = cores[start : start + batch]
        windows = np.stack([_crop(images, read, c.pad(lattice.halo), fill=np.nan) for c in group])
        outputs = _infer(windows, looking, model, batch)
        for index, core in enumerate(group):
            target = core & kept
            inside = target.slices(core.pad(lattice.halo))
            where = wanted[target.slices(kept)] & outputs["seen"][index][inside]
            non_finite += int((where & ~outputs["finite"][index][inside]).sum())
            where &= outputs["finite"][index][inside]
            for name, layer in layers.items():
                view = layer[(..., *target.slices(kept))]
                view[..., where] = outputs[name][index][(..., *inside)][..., where]
    return non_finite


def _anything(images: np.ndarray, looking: np.ndarray, read: PixelBox, box: PixelBox) -> bool:
    inside = box & read
    if inside.empty:
        return False
    view = images[(..., *inside.slices(read))]
    return any(bool(np.isfinite(view[channel]).any()) for channel in np.flatnonzero(looking))


def _infer(
    windows: np.ndarray, looking: np.ndarray, model: Predictor, batch: int
) -> dict[str, np.ndarray]:
    """``(n, channel, row, col)`` to class values, percent and validity; ``n <= batch``."""
    import torch

    from rsscale.data.normalize import normalize

    count = len(windows)
    if count < batch:  # one batch shape always: kernels may round differently for another
        windows = np.concatenate(
            [windows, np.full_like(windows[:1], np.nan).repeat(batch - count, 0)]
        )
    with torch.inference_mode():
        images = torch.from_numpy(windows).to(model.device)
        seen = torch.isfinite(images[:, looking]).any(dim=1)  # (n, row, col)
        scores = model(normalize(images, model.spec))  # (n, class, row, col)
        finite = torch.isfinite(scores).all(dim=1)
        probability = torch.softmax(scores.float(), dim=1)
        best, index = probability.max(dim=1)  # the first of equals, on any device
        values = torch.tensor([c.value for c in model.spec.classes], device=model.device)
        outputs = {
            "classification": values[index].to(torch.uint8),
            "confidence": _percent(best),
            "probability": _percent(probability),
            "seen": seen,
            "finite": finite,
        }
    return {name: tensor[:count].cpu().numpy() for name, tensor in outputs.items()}


def _percent(probability: torch.Tensor) -> torch.Tensor:
    import torch

    # A number that is none becomes 0 here and nodata later: casting NaN is undefined.
    return (probability.nan_to_num(0.0) * 100).round().to(torch.uint8)


def _dataset(layers: Mapping[str, np.ndarray], box: GeoBox, spec: ModelSpec) -> xr.Dataset:
    coords: dict[Any, Any] = dict(xr_coords(box, always_yx=True))
    attributes = {name: {"nodata": NODATA, "grid_mapping": "spatial_ref"} for name in layers}
    attributes["classification"] |= class_attributes(spec.classes)
    attributes["confidence"]["units"] = "percent"
    if "probability" in layers:
        coords["class"] = [c.value for c in spec.classes]
    dims = {name: ("class", "y", "x")[-values.ndim :] for name, values in layers.items()}
    return xr.Dataset(
        {n: xr.DataArray(v, dims=dims[n], attrs=attributes[n]) for n, v in layers.items()},
        coords=coords,
    )
