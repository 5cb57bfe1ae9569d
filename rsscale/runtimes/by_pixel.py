"""Estimators that look at one pixel: rows of features in batches, one result a row."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import ModelError
from rsscale.importing.user_code import error_line
from rsscale.model.model_input import DAYS, VALID, ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.networks.pixels import PixelSeries, pixel_series
from rsscale.networks.tempcnn import on_year
from rsscale.runtimes.base import RuntimeModule
from rsscale.runtimes.indices import SpectralIndices

_log = logging.getLogger("rsscale")

ROWS = 1 << 14
"""Pixels that are predicted at once, so that memory does not depend on windows or tiles."""
MOST_PLACES = 1000
"""Of the year, on which series are put."""

Given = torch.Tensor | Mapping[str, torch.Tensor]
"""What a model is called with: channels ``(N, C, H, W)``, or inputs by name."""


class PixelFeatures:
    """What an estimator of single pixels is given of a window; the same in training and mapping.

    Channels in their order, ``INPUT.TIME.BAND``, and then the indices that
    ``hyperparameters["indices"]`` names, ``INPUT.TIME.INDEX``, of each time of each input that has
    their bands; ``hyperparameters["bands"]`` says what formulas call a band, as ``{"B04": "R"}``.

    With the layout ``"mapping"``, of inputs that take days and validity, observations are put on
    ``hyperparameters["places"]`` regular places of the year first, each between those before and
    after it: ``INPUT.PLACE.BAND``.

    Parameters
    ----------
    spec : ModelSpec
        Of the layout ``"channels"`` or ``"mapping"``.

    Attributes
    ----------
    names : list of str

    Raises
    ------
    ModelError
        When the layout is another, or there are no such indices or places.
    """

    def __init__(self, spec: ModelSpec) -> None:
        if spec.layout == "series":
            raise ModelError(
                f"model {spec.name!r} is an estimator of single pixels and has the layout "
                f"{spec.layout!r}; it takes channels, or a mapping with days and validity"
            )
        self._spec = spec
        self._places = _places(spec) if spec.layout == "mapping" else 0
        inputs = spec.inputs
        if self._places:
            inputs = tuple(replace(i, times=(), series=self._places, takes=()) for i in inputs)
        self._indices = _indices(spec, inputs)
        self.names = [*_channel_names(inputs), *self._indices.names]

    @property
    def bytes_of_a_pixel(self) -> int:
        """Memory that series of a window take, which are copied in another order, about."""
        if not self._places:
            return 0
        return sum(4 * part.channels + 5 * part.length for part in self._spec.inputs)

    def batches(self, given: Given, rows: int) -> Sequence[Callable[[], npt.NDArray[np.float32]]]:
        """Functions that make the features ``(pixels, F)`` of so many pixels each, in order."""
        parts = self._pixels(given)
        count = len(parts[0].days) if isinstance(parts, list) else len(parts)
        slices = [slice(n, n + rows) for n in range(0, count, rows)]
        return [partial(self._features, parts, some) for some in slices]

    def _pixels(self, given: Given) -> list[PixelSeries] | npt.NDArray[np.float32]:
        """Channels ``(P, C)`` of the pixels of windows, or the series of each input."""
        if isinstance(given, torch.Tensor):
            # Without a copy where channels lie last, as they do.
            by_pixel = given.detach().cpu().permute(0, 2, 3, 1)
            return by_pixel.reshape(-1, given.shape[1]).numpy()
        on_cpu = {name: tensor.detach().cpu() for name, tensor in given.items()}
        return [pixel_series(on_cpu, part.name) for part in self._spec.inputs]

    def _features(
        self, pixels: list[PixelSeries] | npt.NDArray[np.float32], some: slice
    ) -> npt.NDArray[np.float32]:
        if isinstance(pixels, list):
            channels = np.concatenate([self._on_year(part.part(some)) for part in pixels], axis=1)
        else:
            channels = pixels[some]
        if not self._indices.names:
            return np.ascontiguousarray(channels)
        indices = self._indices.compute(channels)
        if self._spec.missing != "nan":
            np.nan_to_num(indices, copy=False, nan=0.0)
        return np.concatenate([channels, indices], axis=1)

    def _on_year(self, series: PixelSeries) -> npt.NDArray[np.float32]:
        year = on_year(series, self._places)  # (P, S, B)
        if self._spec.missing == "nan":
            year = year.masked_fill(~series.seen[:, None, None], float("nan"))
        on_regular_places: npt.NDArray[np.float32] = year.flatten(1).numpy()
        return on_regular_places


class PixelModule(RuntimeModule):
    """Base of estimators: :class:`PixelFeatures` of a pixel in, numbers of that pixel out.

    Parameters
    ----------
    spec : ModelSpec
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self._name, self._outputs = spec.name, spec.output_channels
        self._of_pixels = PixelFeatures(spec)
        self.features = self._of_pixels.names

    @property
    def threads(self) -> int:
        """Batches that are predicted side by side: 1 where a library has threads of its own."""
        return 1

    @abstractmethod
    def rows(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """Numbers ``(pixel, output)`` of features ``(pixel, feature)``."""

    def working_bytes(self, pixels: int) -> int:
        """See :class:`RuntimeModule`: of the batches that are in hand."""
        held = min(pixels, self.threads * ROWS)
        batches = held * (12 * len(self.features) + 24 * self._outputs)
        return batches + pixels * (4 * self._outputs + self._of_pixels.bytes_of_a_pixel)

    def forward(self, given: Given) -> torch.Tensor:
        """Numbers ``(N, K, H, W)`` float32 of what the layout gives, on its device."""
        first = given if isinstance(given, torch.Tensor) else next(iter(given.values()))
        count, height, width = len(first), *first.shape[-2:]
        result = np.empty((count * height * width, self._outputs), np.float32)
        batches = self._of_pixels.batches(given, ROWS)
        for number, numbers in enumerate(self._computed(batches)):
            result[number * ROWS : (number + 1) * ROWS] = numbers
        placed = torch.from_numpy(result).view(count, height, width, self._outputs)
        return placed.permute(0, 3, 1, 2).to(first.device)

    def _computed(
        self, batches: Sequence[Callable[[], npt.NDArray[np.float32]]]
    ) -> Iterator[npt.NDArray[np.floating]]:
        """The numbers of each batch, in order; values don't depend on the threads."""
        if self.threads == 1 or len(batches) == 1:
            yield from map(self._batch, batches)
            return
        with ThreadPoolExecutor(self.threads, thread_name_prefix="rsscale-rows") as pool:
            yield from pool.map(self._batch, batches)

    def _batch(
        self, features_of: Callable[[], npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.floating]:
        features = features_of()
        try:
            numbers = self.rows(features)
        except MemoryError:
            raise  # fewer windows at once are tried
        except Exception as error:
            hint = "; say missing='mean', or begin with an imputer" if "NaN" in str(error) else ""
            raise ModelError(
                f"model {self._name!r}: {self.artifact.framework} can't predict its pixels: "
                f"{error_line(error)[:200]}{hint}"
            ) from error
        if numbers.shape != (len(features), self._outputs):
            raise ModelError(
                f"model {self._name!r} returns {numbers.shape} for {len(features)} pixels; its "
                f"contract says {self._outputs} numbers for each"
            )
        return numbers


def _places(spec: ModelSpec) -> int:
    """Regular places of the year that observations are put on."""
    places = spec.hyperparameters.get("places")
    takes = all({DAYS, VALID} <= set(part.takes) for part in spec.inputs)
    if not takes or type(places) is not int or not 1 <= places <= MOST_PLACES:
        raise ModelError(
            f"model {spec.name!r} is an estimator of series, with {places!r} places of the year; "
            f"expected hyperparameters: {{places: 24}}, from 1 to {MOST_PLACES}, and inputs that "
            "take days and validity"
        )
    return places


def _indices(spec: ModelSpec, inputs: Sequence[ModelInput]) -> SpectralIndices:
    names = spec.hyperparameters.get("indices") or []
    bands = spec.hyperparameters.get("bands") or {}
    is_named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not is_named or not isinstance(bands, dict):
        raise ModelError(
            f"model {spec.name!r}: hyperparameters have indices {names!r:.60} and bands "
            f"{bands!r:.60}; expected a list of names such as ['NDVI'], and a mapping of band to "
            "symbol such as {'nir': 'N'}"
        )
    return SpectralIndices(names, inputs, bands)


def _channel_names(inputs: Sequence[ModelInput]) -> Iterator[str]:
    for model_input in inputs:
        for number in range(model_input.length):
            time = model_input.times[number] if model_input.times else str(number)
            yield from (f"{model_input.name}.{time}.{band}" for band in model_input.bands)


def check_features(expected: int, features: Sequence[str], name: str, library: str) -> None:
    """Refuse an estimator that was fitted to another number of features.

    Raises
    ------
    ModelError
    """
    if expected != len(features):
        raise ModelError(
            f"model {name!r}: {library} was fitted to {expected} features, and its inputs and "
            f"indices make {len(features)}: {', '.join(features[:12])}"
            f"{', …' if len(features) > 12 else ''}; give the inputs, times and indices that it "
            "was fitted to, in their order"
        )


def check_names(names: Sequence[str] | None, features: Sequence[str], name: str) -> None:
    """Refuse features in another order than an estimator was fitted to, by their names.

    They are given by position, and where it has other names that is logged.

    Parameters
    ----------
    names : sequence of str or None
        As the estimator has them; None where it has none.
    features : sequence of str
        As the inputs and indices of the model make them.
    name : str
        Of the model.

    Raises
    ------
    ModelError
    """
    if names is None or list(names) == list(features):
        return
    if set(names) == set(features):
        raise ModelError(
            f"model {name!r} was fitted to features in another order: {', '.join(names[:6])}, "
            f"where its inputs make {', '.join(features[:6])}; fit it in that order"
        )
    _log.warning(
        "model %r was fitted to features called %s; they are given by position: %s",
        name,
        ", ".join(names[:6]),
        ", ".join(features[:6]),
    )
