"""Estimators that look at one pixel: rows of features in batches, one result a row."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import ModelError
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.base import RuntimeModule
from rsscale.runtimes.indices import SpectralIndices
from rsscale.user_code import said

_log = logging.getLogger("rsscale")

ROWS = 1 << 14
"""Pixels that are predicted at once, so that memory does not depend on windows or tiles."""


class PixelModule(RuntimeModule):
    """Base of estimators: channels and indices of a pixel in, numbers of that pixel out.

    Its features are the channels in their order, ``INPUT.TIME.BAND``, and then the indices that
    ``hyperparameters["indices"]`` names, ``INPUT.TIME.INDEX``, of each time of each input that has
    their bands; ``hyperparameters["bands"]`` says what formulas call a band, as ``{"B04": "R"}``.

    Parameters
    ----------
    spec : ModelSpec
        Of the layout ``"channels"``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        if spec.layout != "channels":
            raise ModelError(
                f"model {spec.name!r} is an estimator of single pixels and has the layout "
                f"{spec.layout!r}; it takes channels"
            )
        self._name, self._outputs = spec.name, spec.output_channels
        self._missing = spec.missing
        self._indices = _indices(spec)
        self.features = [*_channel_names(spec), *self._indices.names]

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
        return held * (12 * len(self.features) + 24 * self._outputs) + 4 * pixels * self._outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Numbers ``(N, K, H, W)`` float32 of windows ``(N, C, H, W)``, on their device."""
        count, channels, height, width = images.shape
        # Without a copy where channels lie last, as they do.
        pixels = images.detach().cpu().permute(0, 2, 3, 1).reshape(-1, channels).numpy()
        result = np.empty((len(pixels), self._outputs), np.float32)
        batches = [slice(n, n + ROWS) for n in range(0, len(pixels), ROWS)]
        for batch, numbers in zip(batches, self._computed(pixels, batches), strict=True):
            result[batch] = numbers
        placed = torch.from_numpy(result).view(count, height, width, self._outputs)
        return placed.permute(0, 3, 1, 2).to(images.device)

    def _computed(
        self, pixels: npt.NDArray[np.float32], batches: Sequence[slice]
    ) -> Iterator[npt.NDArray[np.floating]]:
        """The numbers of each batch, in order; values don't depend on the threads."""
        if self.threads == 1 or len(batches) == 1:
            yield from (self._batch(pixels[batch]) for batch in batches)
            return
        with ThreadPoolExecutor(self.threads, thread_name_prefix="rsscale-rows") as pool:
            yield from pool.map(self._batch, (pixels[batch] for batch in batches))

    def _batch(self, channels: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        features = channels
        if self._indices.names:
            indices = self._indices.compute(channels)
            if self._missing != "nan":
                np.nan_to_num(indices, copy=False, nan=0.0)
            features = np.concatenate([channels, indices], axis=1)
        try:
            numbers = self.rows(np.ascontiguousarray(features))
        except MemoryError:
            raise  # fewer windows at once are tried
        except Exception as error:
            hint = "; say missing='mean', or begin with an imputer" if "NaN" in str(error) else ""
            raise ModelError(
                f"model {self._name!r}: {self.artifact.framework} can't predict its pixels: "
                f"{said(error)[:200]}{hint}"
            ) from error
        if numbers.shape != (len(channels), self._outputs):
            raise ModelError(
                f"model {self._name!r} returns {numbers.shape} for {len(channels)} pixels; its "
                f"contract says {self._outputs} numbers for each"
            )
        return numbers


def _indices(spec: ModelSpec) -> SpectralIndices:
    names = spec.hyperparameters.get("indices") or []
    bands = spec.hyperparameters.get("bands") or {}
    is_named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not is_named or not isinstance(bands, dict):
        raise ModelError(
            f"model {spec.name!r}: hyperparameters have indices {names!r:.60} and bands "
            f"{bands!r:.60}; expected a list of names such as ['NDVI'], and a mapping of band to "
            "symbol such as {'nir': 'N'}"
        )
    return SpectralIndices(names, spec.inputs, bands)


def _channel_names(spec: ModelSpec) -> Iterator[str]:
    for model_input in spec.inputs:
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
