"""Compare a sample of a map's input with what its model was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rsscale.model.spec import ModelSpec

FAR = 10
"""Standard deviations beyond which no value of the training is expected: other units, mostly."""
_SHIFTED = 1.5
_SHIFTED_BAND = 4.0
_CLIPPED = 5.0  # a few outliers, such as clouds, are no shift
_FEWEST = 100
_MOST_BANDS = 32
_NAMED = 3
_COUNT, _SUM = "values", "shift"


@dataclass(frozen=True)
class BandSum:
    """Sum of values in standard deviations from the mean of the training, each at most 5."""

    count: int = 0
    total: float = 0.0

    def __add__(self, other: BandSum) -> BandSum:
        return BandSum(self.count + other.count, self.total + other.total)


@dataclass(frozen=True)
class SampledValues:
    """How unlike the values of a sample are to those that a model was trained on.

    Attributes
    ----------
    sampled : int
        Known values, of inputs that the model scales.
    far : int
        Those more than :data:`FAR` standard deviations from the training mean of their band.
    bands : mapping of "input.band" to BandSum
        Of all times together.
    """

    sampled: int = 0
    far: int = 0
    bands: Mapping[str, BandSum] = field(default_factory=dict)

    def __add__(self, other: SampledValues) -> SampledValues:
        names = dict.fromkeys((*self.bands, *other.bands))
        bands = {
            name: self.bands.get(name, BandSum()) + other.bands.get(name, BandSum())
            for name in names
        }
        return SampledValues(self.sampled + other.sampled, self.far + other.far, bands)

    @classmethod
    def of_band(
        cls, name: str, values: npt.NDArray[np.floating], mean: float, std: float
    ) -> SampledValues:
        """Of one band; values that are no numbers do not count."""
        known = values[np.isfinite(values)]
        away = (known.astype(np.float64) - mean) / std
        far = int(np.count_nonzero(np.abs(away) > FAR))
        total = float(np.clip(away, -_CLIPPED, _CLIPPED).sum())
        return cls(len(known), far, {name: BandSum(len(known), total)})

    @property
    def other_units(self) -> str | None:
        """What a person should know if most values are far."""
        if 2 * self.far <= self.sampled:
            return None
        return (
            f"{self.far / self.sampled:.0%} of the values lie more than {FAR} standard deviations "
            "from those that the model was trained on; are the bands in the same units?"
        )

    @property
    def shift(self) -> str | None:
        """What a person should know if the mean of the bands lies far from the training's."""
        means = {n: b.total / b.count for n, b in self.bands.items() if b.count >= _FEWEST}
        if not means:
            return None
        whole = float(np.mean(np.abs(list(means.values()))))
        largest = sorted(means.items(), key=lambda item: -abs(item[1]))[:_NAMED]
        if whole <= _SHIFTED and abs(largest[0][1]) <= _SHIFTED_BAND:
            return None
        named = ", ".join(f"{name.partition('.')[2]} {mean:+.1f}" for name, mean in largest)
        return (
            f"the bands lie {whole:.1f} standard deviations from the mean of the training "
            f"({named}); another season, haze, sensor or unit? The map may mean nothing there"
        )

    def warnings(self) -> list[str]:
        """What a person should know of a map of these values."""
        return [line for line in (self.other_units or self.shift,) if line]

    def to_facts(self, span: str, spec: ModelSpec) -> dict[str, float]:
        """As facts of a tile: of all bands together, and those of :func:`band_facts`."""
        facts: dict[str, float] = {"sampled_values": self.sampled, "far_values": self.far}
        for name in compared_bands(spec):
            band = self.bands.get(name, BandSum())
            facts |= {_fact(_COUNT, span, name): band.count, _fact(_SUM, span, name): band.total}
        return facts

    @classmethod
    def from_facts(cls, facts: Mapping[str, float], span: str, spec: ModelSpec) -> SampledValues:
        """Of folded facts, the bands being those of a period."""
        bands = {
            name: BandSum(
                int(facts.get(_fact(_COUNT, span, name), 0)), facts.get(_fact(_SUM, span, name), 0)
            )
            for name in compared_bands(spec)
        }
        sampled, far = facts.get("sampled_values", 0), facts.get("far_values", 0)
        return cls(int(sampled), int(far), bands)


def band_facts(specs: Mapping[str, ModelSpec]) -> list[str]:
    """Names of the facts of bands, for the model of each period."""
    return [
        _fact(kind, span, name)
        for span, spec in specs.items()
        for name in compared_bands(spec)
        for kind in (_COUNT, _SUM)
    ]


def compared_bands(spec: ModelSpec) -> Iterable[str]:
    """Bands that the model scales as ``input.band``, at most 32 of an input."""
    for part in spec.inputs:
        if part.is_scaled:
            yield from (f"{part.name}.{band}" for band in part.bands[:_MOST_BANDS])


def _fact(kind: str, span: str, band: str) -> str:
    return f"{kind}_{span}_{band}"
