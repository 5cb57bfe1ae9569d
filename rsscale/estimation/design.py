"""How a sample was drawn: its kind, its strata and their sizes, its first stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError

DesignKind = Literal["simple", "stratified", "systematic", "two-stage"]
KINDS: tuple[str, ...] = get_args(DesignKind)


@dataclass(frozen=True)
class Stratum:
    """A part of the population that has a sample of its own.

    Attributes
    ----------
    value : int
        As the sample's column ``stratum`` has it.
    name : str
    pixels : float
        Units of the population in it; infinite where that is not known, so that the sample is
        taken as a negligible part of it.
    hectares : float
        Its size, in whatever unit areas are wanted: pixels, where no ground is known.
    """

    value: int
    name: str
    pixels: float
    hectares: float

    def __post_init__(self) -> None:
        if not (self.pixels > 0 and 0 < self.hectares < np.inf):
            raise RecipeError(
                f"stratum {self.name!r} has {self.pixels:g} pixels and {self.hectares:g} ha; "
                "expected more than none: leave out strata that the map does not have"
            )


@dataclass(frozen=True)
class SampleDesign:
    """How a sample was drawn.

    Attributes
    ----------
    kind : str
        ``"simple"`` random, ``"stratified"`` random, ``"systematic"`` on a lattice with a random
        start, or ``"two-stage"``: clusters (primary units), then units in them.
    strata : tuple of Stratum
        Without overlap, together the whole population; one, where there are none.
    clusters : int, optional
        Primary units of the population.

    Raises
    ------
    RecipeError
        For another kind, no stratum, or one that is there twice.
    """

    kind: DesignKind
    strata: tuple[Stratum, ...]
    clusters: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RecipeError(f"a sample has the design {self.kind!r}; expected one of {KINDS}")
        values = [stratum.value for stratum in self.strata]
        if not values or len(set(values)) < len(values):
            raise RecipeError(
                f"a sample has the strata {values}; expected each once, and at least one"
            )

    @property
    def hectares(self) -> float:
        """Size of the population."""
        return float(sum(stratum.hectares for stratum in self.strata))

    @property
    def sizes(self) -> npt.NDArray[np.float64]:
        """Hectares of each stratum ``(H,)``."""
        return np.array([stratum.hectares for stratum in self.strata], float)

    @property
    def pixels(self) -> npt.NDArray[np.float64]:
        """Units of the population in each stratum ``(H,)``."""
        return np.array([stratum.pixels for stratum in self.strata], float)
