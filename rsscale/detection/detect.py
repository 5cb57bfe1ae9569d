"""Find the objects of an image in memory, as a step of a run finds those of a country."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from rsscale.composites.strips import strips
from rsscale.decorators.first_argument import COMPOSITE, first_is
from rsscale.detection.windows import MOST_UNSEEN, detect_windows
from rsscale.errors import ModelError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inference.device_lock import device_lock
from rsscale.inference.sampled_values import SampledValues
from rsscale.inference.stack import InputStack
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor
from rsscale.objects.candidates import Candidates, together, window_candidates
from rsscale.objects.columns import GEOMETRY
from rsscale.objects.deciding import Rules, decide_all, known_windows
from rsscale.objects.placed import inside, placed_rows
from rsscale.prediction.inputs import geobox_of_input, model_inputs
from rsscale.prediction.model_source import ModelSource, opened
from rsscale.prediction.predict import checked_where, in_memory

if TYPE_CHECKING:
    import geopandas as gpd

_log = logging.getLogger("rsscale")

_COLUMNS = ["id", "class", "name", "score", "x", "y", "area_m2", "parts", "cut", "model"]
_DROPPED = {
    "zero_area": "have no area",
    "outside": "lie outside of their window",
    "unseen": f"lie on pixels of which no sensor saw more than {1 - MOST_UNSEEN:.0%}",
    "no_mask": "have no mask above its threshold",
}


@first_is(xr.DataArray, Mapping, expected=COMPOSITE)
def detect(
    composite: xr.DataArray | Mapping[str, xr.DataArray],
    model: Predictor | ModelSource,
    *,
    core: GeoBox | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    where: Any = None,
    score: float | None = None,
    iou: float | None = None,
    agnostic: bool = False,
) -> gpd.GeoDataFrame:
    """Find the objects of an image, each once.

    Windows lie where :func:`rsscale.predict` has them. What several windows see is suppressed and
    merged as in a step of ``kind: detect``, so that this is what a run finds in the same place.

    Parameters
    ----------
    composite : DataArray or mapping of name to DataArray
        As :func:`rsscale.predict` takes it. A lazy one is computed in strips of windows, of about
        512 MB and at least a row of its chunks: memory does not grow with the image. Strips overlap
        by a halo, and chunks on their lines are computed twice.
    model : Model or ModelFolder
        One that finds objects: its output is an :class:`rsscale.ObjectOutput`.
    core : GeoBox, optional
        Where objects are wanted; the composite's own box when omitted. Pixels that a window needs
        beyond the composite are missing values to the model.
    origin : (float, float)
        The grid's origin, which the windows are counted from, in CRS units.
    where : bool array (y, x), optional
        Pixels of ``core`` in which the centre of an object may lie. Only windows with such a pixel
        are looked at: an object that reaches beyond them is cut there.
    score : float, optional
        Least score, in place of the model's ``score_threshold``.
    iou : float, optional
        Intersection over union above which two detections are one object, in place of the model's.
    agnostic : bool
        Whether that goes across classes.

    Returns
    -------
    geopandas.GeoDataFrame
        In the CRS of the composite, one row an object, from north to south by windows: ``id``,
        ``class``, ``name``, ``score``, ``x``, ``y`` (middle of its bounds), ``area_m2`` (on the
        ellipsoid), ``parts`` (windows that it was put together from), ``cut`` (beside pixels that
        no sensor saw, or cut by a window: it may be larger), ``model`` (digest), ``geometry``.
        Attribute ``counts``: what :func:`rsscale.detection.windows.detect_windows` counts.

    Raises
    ------
    ModelError
        When the model maps pixels, or returns something else than its contract says; and as
        :func:`rsscale.predict`.
    AreaError
        As :func:`rsscale.predict`.
    """
    import geopandas as gpd

    spec = _contract(model)
    output = spec.objects  # which a model of pixels has not
    inputs = model_inputs(composite, spec)
    source = geobox_of_input(next(iter(inputs.values())))
    grid = Grid(str(source.crs), source.affine.a, origin=origin)
    read = grid.box_of(source)
    kept = grid.box_of(core) if core is not None else read
    wanted = _wanted(where, kept.shape, checked_where(where, kept, grid.geobox_of(kept)))
    network = opened(model) if isinstance(model, ModelSource) else model
    cores = known_windows(kept, wanted, spec.lattice)
    counts: Counter[str] = Counter()
    rules = Rules(output.iou if iou is None else iou, agnostic)
    parts, sampled = [], SampledValues()
    for some_cores, stack in _stacks(inputs, spec, read, kept, cores):
        with device_lock(network.device):
            detections = detect_windows(
                stack, network, some_cores, score_threshold=score, counts=counts
            )
        sampled += stack.sampled_values()
        parts += [
            window_candidates(
                some, place, spec.lattice, stack.seen(place.pad(spec.lattice.halo)),
                iou=rules.iou, agnostic=agnostic,
            )
            for some, place in zip(detections, some_cores, strict=True)
        ]  # fmt: skip
    candidates = together(parts) if parts else Candidates.none()
    objects = inside(decide_all(candidates, spec.lattice.stride, rules), kept, wanted)
    _log_counts(counts, spec, sampled)
    digest = str(getattr(network, "digest", ""))
    rows = placed_rows(objects, grid=grid, classes=spec.classes, model=digest)
    shapes = shapely.from_wkb(rows[GEOMETRY].to_numpy(zero_copy_only=False))
    frame = gpd.GeoDataFrame(rows.select(_COLUMNS).to_pandas(), geometry=shapes, crs=grid.crs)
    frame.attrs["counts"] = dict(counts)
    return frame


def _contract(model: Any) -> ModelSpec:
    """The contract of a model."""
    spec = getattr(model, "spec", None)
    if not isinstance(spec, ModelSpec):
        raise ModelError(
            f"a {type(model).__name__} does not say what it reads and which objects it finds; use "
            "rsscale.open_model, or rsscale.Model.of(network, output=rsscale.ObjectOutput(), ...)"
        )
    return spec


def _wanted(where: Any, shape: tuple[int, int], checked: Any) -> npt.NDArray[np.bool_]:
    """The pixels in which objects are wanted."""
    return np.ones(shape, bool) if where is None else np.asarray(checked, bool)


def _stacks(
    inputs: Mapping[str, xr.DataArray],
    spec: ModelSpec,
    read: PixelBox,
    kept: PixelBox,
    cores: Sequence[PixelBox],
) -> Iterator[tuple[list[PixelBox], InputStack]]:
    """Windows strip by strip, with what they see of the inputs in memory."""
    channels = sum(array.sizes["time"] * array.sizes["band"] for array in inputs.values())
    for strip in strips(kept, spec.lattice, channels):
        inside = [core for core in cores if not (core & strip).empty]
        if not inside:
            continue
        around = spec.lattice.read_box(strip) & read
        rows, cols = around.slices(read)
        part = {name: array[..., rows, cols] for name, array in inputs.items()}
        yield inside, InputStack(in_memory(part), spec, around)


def _log_counts(counts: Counter[str], spec: ModelSpec, sampled: SampledValues) -> None:
    """Log what was dropped, and what a person should know of the values."""
    for name, reason in _DROPPED.items():
        if counts[name]:
            _log.info(
                "model %r: %d detections %s, and were dropped", spec.name, counts[name], reason
            )
    if counts["full"]:
        _log.warning(
            "model %r: %d of %d windows have more than %d objects, and keep as many; raise 'most' "
            "of its output, or use a smaller stride",
            spec.name, counts["full"], counts["windows"], spec.objects.most,
        )  # fmt: skip
    for warning in sampled.warnings():
        _log.warning("%s", warning)
