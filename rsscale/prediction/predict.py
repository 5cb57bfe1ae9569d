"""A model over a composite: windows of the global lattice, blended, quantised.

The same function serves a notebook and a country. A window is read, predicted and blended
where the lattice says, whatever box was asked for; so two calls over overlapping boxes give
the same values wherever both had the model's context, and so do the blocks of a lazy map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from rsscale.cluster.connection import is_in_a_worker
from rsscale.decorators.first_argument import COMPOSITE, first_is
from rsscale.errors import AreaError, ModelError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inference.constant_pixels import warn_of_constant
from rsscale.inference.predict_box import predict_box, warn_of_map
from rsscale.inference.stack import InputStack
from rsscale.inference.staging import HostStaging
from rsscale.layers import Layer
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor, WindowBatch
from rsscale.network.scores import check_classes_to_map
from rsscale.prediction.inputs import geobox_of_input, model_inputs
from rsscale.prediction.lazy import is_lazy, lazy_layers
from rsscale.prediction.model_source import ModelSource, opened, source_of

# Layers of torch, which need not be loaded here, that do something else in training.
_TRAINED_OTHERWISE = {"_DropoutNd", "_BatchNorm"}


@first_is(xr.DataArray, Mapping, expected=COMPOSITE)
def predict(
    composite: xr.DataArray | Mapping[str, xr.DataArray],
    model: Predictor | ModelSource,
    *,
    core: GeoBox | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    where: Any = None,
    probability: bool = False,
    layers: Sequence[str] | None = None,
    batch: int = 1,
) -> xr.Dataset:
    """Map what a model says of a composite: at once of one in memory, lazily of a lazy one.

    Parameters
    ----------
    composite : DataArray or mapping of name to DataArray
        ``(time, band, y, x)`` float32, NaN where nothing was seen, as
        :func:`rsscale.composite` returns it; one for each input of the model, all on the
        same GeoBox. Dimensions and bands are taken by name, in any order, and whatever number is
        declared as nodata (``nodata``, ``_FillValue``, ``missing_value``) is missing as NaN is.
        The map is lazy when one of them is Dask's; others may be in memory, and travel in the
        graph then.
    model : Model or ModelFolder
        From :func:`rsscale.open_model`, or :class:`rsscale.ModelFolder` for one that is opened
        on the workers alone.
    core : GeoBox, optional
        Where the map is wanted; the composite's own box when omitted. Pixels that a window
        needs beyond the composite are missing values to the model.
    origin : (float, float)
        The grid's origin, which the windows are counted from, in CRS units.
    where : bool array (y, x), optional
        Pixels of ``core`` to map; the others are nodata in every layer. May be lazy.
    probability : bool
        Also return the probability of every class.
    layers : sequence of str, optional
        Which layers to return, of those of the model's output and ``observations``; the usual ones
        when omitted.
    batch : int
        Windows that the model sees at once. Part of the numeric profile: another batch may
        move a confidence by one percent.

    Returns
    -------
    xarray.Dataset
        ``(y, x)``. Of classes, uint8 with nodata 255: ``classification`` holding class values,
        ``confidence`` in percent and, if asked, ``probability (class, y, x)`` in percent. Of
        values: each in its own layer, of its type and nodata. Of an embedding: ``(feature, y, x)``.
        Of each ``observations`` (clear observations over all times, saturating at 254). Nodata is
        what lies outside ``where``, or was never seen clearly. Attribute ``batch`` is the batch
        that all was predicted with: ``batch``, halved as often as memory asked for. Attribute
        ``non_finite`` counts pixels for which the model returned no number; they are nodata too.

        Of a lazy composite the layers are Dask arrays, and nothing is computed here. ``batch``
        is the one that was asked for, and there is no ``non_finite``: a block that is
        predicted with fewer windows, or has such pixels, is logged by its worker.

    Raises
    ------
    ModelError
        When the inputs' dimensions, bands or time windows are not the model's; when the model
        returns something else than scores of its classes for each pixel, or has one class only;
        when one window does not fit into memory, or a worker can't open the model (of a lazy
        map, once it is computed); when a model that is in no folder can't be pickled.
    AreaError
        When the inputs have no georeference or lie on different pixels, ``core`` lies
        between theirs, or ``where`` has another shape.

    Notes
    -----
    The values of a lazy map are those of the eager call to the bit, on any scheduler and however
    the composite is cut, within one numeric profile: device, batch, precision, compilation, and
    whether torch has one thread within an operation or more. The last is what it is at the call,
    and more than one where torch is not loaded. A client that Dask's nannies have set
    ``OMP_NUM_THREADS=1`` for before torch was loaded has one, and so have its workers then;
    ``torch.set_num_threads(2)`` lets them use all of theirs.

    One task predicts a block of whole windows, about 2048 px wide (1024 where there are many
    channels), whose edges are counted from ``origin``; it takes of the composite's chunks what
    its windows read. Chunks of the layers are as wide as a block and begin at the corner of
    ``core``, since Zarr takes no others: they are the blocks where ``core`` begins with one.
    On one process a device runs one block at a time, so several may read meanwhile.

    A model of :func:`rsscale.open_model` that was not changed since travels as its path, digest
    and how it was opened; each process opens it once, and refuses a folder with another digest.
    Any other model is pickled as it is at the call, and is one task of the graph, which goes
    once to each process that needs it: a graph grows by that much. Save it and open it for
    graphs of a few kilobytes.
    """
    _check_model(model)
    chosen = model.spec.layers(_names(model.spec, layers, probability))
    inputs = model_inputs(composite, model.spec)
    source_box = geobox_of_input(next(iter(inputs.values())))
    grid = Grid(str(source_box.crs), source_box.affine.a, origin=origin)
    read = grid.box_of(source_box)
    kept = grid.box_of(core) if core is not None else read
    place = grid.geobox_of(kept)
    where = checked_where(where, kept, place)
    if any(is_lazy(array) for array in inputs.values()):
        lazy = lazy_layers(inputs, source_of(model), read, kept, where, layers=chosen, batch=batch)
        return _dataset(chosen, lazy, place, batch=batch)
    stack = InputStack(inputs, model.spec, read)
    wanted = np.ones(kept.shape, bool) if where is None else np.asarray(where, bool)
    network = opened(model) if isinstance(model, ModelSource) else model
    predicted = predict_box(stack, network, kept, wanted, layers=chosen, batch=batch)
    warn_of_map(predicted, network, kept, batch)
    warn_of_constant(inputs.values())
    counts = {"batch": predicted.batch, "non_finite": predicted.non_finite}
    return _dataset(chosen, predicted.layers, place, **counts)


def first_windows(
    composite: xr.DataArray | Mapping[str, xr.DataArray],
    spec: ModelSpec,
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    count: int = 1,
) -> WindowBatch:
    """Windows of a composite as the model sees them, to try it on.

    Parameters
    ----------
    composite : DataArray or mapping of name to DataArray
        As :func:`predict` takes it.
    spec : ModelSpec
    origin : (float, float)
        The grid's origin, in CRS units.
    count : int
        Windows that are wanted: the first in which something was seen.

    Returns
    -------
    WindowBatch
        On the CPU, normalised, missing values 0; at most ``count`` windows.

    Raises
    ------
    ModelError, AreaError
        As :func:`predict`.
    """
    inputs = in_memory(model_inputs(composite, spec))
    source = geobox_of_input(next(iter(inputs.values())))
    box = Grid(str(source.crs), source.affine.a, origin=origin).box_of(source)
    return windows_to_try(InputStack(inputs, spec, box), spec, count)


def windows_to_try(stack: InputStack, spec: ModelSpec, count: int) -> WindowBatch:
    """The first windows of a stack in which something was seen; as :func:`first_windows`."""
    import torch

    box = stack.box
    cores = (core for core in spec.lattice.cores(box) if stack.seen(core & box).any())
    windows = [core.pad(spec.lattice.halo) for core in islice(cores, count)]
    staging = HostStaging(spec, len(windows), torch.device("cpu"))
    return staging.load(stack, windows)


def in_memory(inputs: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Inputs in memory; values and observations come out of one graph, so nothing is read twice."""
    import dask

    if not any(dask.is_dask_collection(array) for array in inputs.values()):
        return dict(inputs)  # Dask would keep them in a cycle, until Python next looks for cycles
    # Inside a worker the default would submit to the cluster again; elsewhere what a client has
    # persisted is known to its cluster alone.
    where = {"scheduler": "threads"} if is_in_a_worker() else {}
    arrays = dask.compute(*inputs.values(), **where)
    return dict(zip(inputs, arrays, strict=True))


def _check_model(model: Any) -> None:
    """Refuse what is no model, by name, and one whose classes can't be mapped."""
    spec = getattr(model, "spec", None)
    if not isinstance(spec, ModelSpec):
        raise ModelError(
            f"a {type(model).__name__} does not say what it reads and which classes it maps; "
            "give it to rsscale.Model.of(model, inputs=..., classes=...), or use "
            "rsscale.open_model; what neither takes runs with rsscale.apply"
        )
    check_classes_to_map(spec)
    _check_evaluation(spec, getattr(model, "module", None))


def _check_evaluation(spec: ModelSpec, module: Any) -> None:
    """Refuse a network that drops activations at random, or takes statistics of each batch."""
    parts = module.modules() if hasattr(module, "modules") else ()
    for part in parts:
        kinds = {kind.__name__ for kind in type(part).__mro__}
        if part.training and kinds & _TRAINED_OTHERWISE:
            raise ModelError(
                f"model {spec.name!r} is in the mode of training, in which its "
                f"{type(part).__name__} would change the map from call to call; set it to "
                "evaluation: model.module.eval()"
            )


def checked_where(where: Any, kept: PixelBox, place: GeoBox) -> Any:
    """The pixels that are wanted as a bare array of the right shape; None for all."""
    if where is None:
        return None
    if isinstance(where, xr.DataArray):
        if set(where.dims) == {"y", "x"}:
            where = where.transpose("y", "x")
        _check_place(where, place)
        where = where.data
    where = where if hasattr(where, "dask") else np.asarray(where)
    if where.dtype.kind not in "biu":
        raise AreaError(f"where holds {where.dtype}; expected true or false for each pixel")
    if where.shape != kept.shape:
        raise AreaError(f"where has the shape {where.shape}, the core has {kept.shape}")
    return where if where.dtype == bool else where.astype(bool)


def _check_place(where: xr.DataArray, place: GeoBox) -> None:
    """Refuse coordinates of other pixels; an array without coordinates is taken as it is."""
    for axis, coordinate in xr_coords(place, always_yx=True).items():
        if axis not in ("y", "x") or axis not in where.coords:
            continue
        actual, expected = where[axis].values, coordinate.values
        close = abs(place.affine.a) * 1e-3
        if actual.shape == expected.shape and not np.allclose(actual, expected, rtol=0, atol=close):
            raise AreaError(
                f"where has {axis} from {actual[0]:.12g} to {actual[-1]:.12g}, the map from "
                f"{expected[0]:.12g} to {expected[-1]:.12g}; give it on the map's pixels"
            )


def _names(spec: ModelSpec, names: Sequence[str] | None, probability: bool) -> Sequence[str] | None:
    """Names of the layers that were asked for."""
    if not probability:
        return names
    usual = names or [layer.name for layer in spec.layers()]
    return [*(name for name in usual if name != "probability"), "probability"]


def _dataset(
    layers: Sequence[Layer], values: Mapping[str, Any], box: GeoBox, **attributes: int
) -> xr.Dataset:
    coords: dict[Any, Any] = dict(xr_coords(box, always_yx=True))
    coords |= {layer.axis.name: list(layer.axis.values) for layer in layers if layer.axis}
    arrays = {
        layer.name: xr.DataArray(
            values[layer.name],
            dims=layer.dims(),
            attrs={**layer.cf_attributes(), "grid_mapping": "spatial_ref"},
        )
        for layer in layers
    }
    return xr.Dataset(arrays, coords=coords, attrs=attributes)
