"""Spectral indices as features of an estimator, computed of its own bands by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError, missing_extra, nearest
from rsscale.model.model_input import ModelInput

# What spyndex calls a band, https://github.com/awesome-spectral-indices, by STAC's common names and
# by those that are usual here.
STANDARD_BANDS: Mapping[str, str] = {
    "coastal": "A",
    "blue": "B",
    "green": "G",
    "green05": "G1",
    "yellow": "Y",
    "red": "R",
    "rededge": "RE1",
    "rededge071": "RE1",
    "rededge075": "RE2",
    "rededge078": "RE3",
    "rededge1": "RE1",
    "rededge2": "RE2",
    "rededge3": "RE3",
    "nir": "N",
    "nir08": "N2",
    "nir09": "WV",
    "swir16": "S1",
    "swir22": "S2",
    "swir1": "S1",
    "swir2": "S2",
    "lwir": "T",
    "lwir11": "T1",
    "lwir12": "T2",
    "hh": "HH",
    "hv": "HV",
    "vh": "VH",
    "vv": "VV",
}
"""Band names to the symbols of formulas."""


@dataclass(frozen=True)
class _Index:
    """An index of one time of one input."""

    name: str
    index: str
    channels: Mapping[str, int]
    scales: Mapping[str, tuple[float, float]]
    constants: Mapping[str, float]


class SpectralIndices:
    """Indices of all times of the inputs that have their bands.

    Parameters
    ----------
    names : sequence of str
        As spyndex calls them, e.g. ``"NDVI"``.
    inputs : sequence of ModelInput
        In channel order.
    bands : mapping of str to str
        Band names to symbols of formulas, beside :data:`STANDARD_BANDS`.

    Raises
    ------
    ModelError
        When there is no such index, or no input has its bands.
    MissingExtraError
        When spyndex is not installed.
    """

    def __init__(
        self, names: Sequence[str], inputs: Sequence[ModelInput], bands: Mapping[str, str]
    ) -> None:
        self._indices: list[_Index] = []
        if not names:
            return
        formulas = _spyndex()
        symbols = {**STANDARD_BANDS, **bands}
        first = {i.name: sum(j.channels for j in inputs[:n]) for n, i in enumerate(inputs)}
        needed = {name: _needed(formulas, name) for name in names}
        computed = set()
        for model_input in inputs:
            known = {symbols[b]: n for n, b in enumerate(model_input.bands) if b in symbols}
            for number in range(model_input.length):
                time = model_input.times[number] if model_input.times else str(number)
                offset = first[model_input.name] + number * len(model_input.bands)
                for name, (wanted, constants) in needed.items():
                    if set(wanted) <= set(known):
                        computed.add(name)
                        self._indices.append(
                            _Index(
                                f"{model_input.name}.{time}.{name}",
                                name,
                                {symbol: offset + known[symbol] for symbol in wanted},
                                {
                                    s: (model_input.mean[known[s]], model_input.std[known[s]])
                                    for s in wanted
                                },
                                constants,
                            )
                        )
        for name in needed:
            if name not in computed:
                have = {i.name: [f"{b}={symbols.get(b, '?')}" for b in i.bands] for i in inputs}
                raise ModelError(
                    f"the index {name!r} is made of the bands {', '.join(needed[name][0])}, which "
                    f"no input has: {have}; name its bands in hyperparameters, bands: "
                    "{BAND: SYMBOL}"
                )

    @property
    def names(self) -> list[str]:
        """``INPUT.TIME.INDEX`` of each, in order."""
        return [index.name for index in self._indices]

    def compute(self, channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Indices ``(pixel, index)`` float32 of channels ``(pixel, channel)`` as a model gets them.

        They are computed of physical values, so normalisation is undone first. Where there is no
        finite number, as of a band that is NaN or a division by 0, it is NaN.
        """
        out = np.empty((len(channels), len(self._indices)), np.float32)
        formulas: Any = _spyndex() if self._indices else None
        for number, index in enumerate(self._indices):
            values: dict[str, Any] = dict(index.constants)
            for symbol, channel in index.channels.items():
                mean, std = index.scales[symbol]
                # In float64: 0-d constants of formulas must not decide the type.
                values[symbol] = channels[:, channel].astype(np.float64) * std + mean
            with np.errstate(all="ignore"):
                computed = formulas.computeIndex(index=index.index, params=values)
                out[:, number] = np.where(np.isfinite(computed), computed, np.nan)
        return out


def _needed(formulas: Any, name: str) -> tuple[list[str], dict[str, float]]:
    """Symbols of the bands of an index, and its constants."""
    if name not in formulas.indices:
        raise ModelError(
            f"there is no spectral index {name!r}; expected a name of spyndex, such as NDVI"
            f"{nearest(name, formulas.indices)}"
        )
    symbols = list(formulas.indices[name].bands)
    constants = {}
    for symbol in symbols:
        if symbol in formulas.constants:
            default = formulas.constants[symbol].default
            if default is None:
                raise ModelError(
                    f"the index {name!r} wants the parameter {symbol!r}, which has no usual value; "
                    "compute it with rsscale.apply"
                )
            constants[symbol] = float(default)
    return [symbol for symbol in symbols if symbol not in constants], constants


def _spyndex() -> Any:
    try:
        import spyndex
    except ImportError as error:
        raise missing_extra("features that are spectral indices", "classical") from error
    return spyndex
