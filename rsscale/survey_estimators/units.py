"""How a sample was drawn, and how much of the population each of its units stands for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

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
        Primary units of the population, where they were drawn without replacement and with equal
        probabilities.

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
    def sizes(self) -> Floats:
        """Hectares of each stratum ``(H,)``."""
        return np.array([stratum.hectares for stratum in self.strata], float)

    @property
    def pixels(self) -> Floats:
        """Units of the population in each stratum ``(H,)``."""
        return np.array([stratum.pixels for stratum in self.strata], float)


# Units of a systematic sample that each is compared with.
_NEIGHBOURS = 4


@dataclass(frozen=True, eq=False)
class Units:
    """Units of a probability sample.

    Attributes
    ----------
    design : SampleDesign
    stratum : int64 array (n,)
        Position in ``design.strata``.
    weight : float64 array (n,)
        Hectares that each unit stands for. They add up to the hectares of its stratum: within a
        stratum they are as the inverse inclusion probabilities times the size of the pixel, so
        that totals are Hájek's (1971), and the usual stratified means where probabilities are
        equal.
    cluster : int64 array (n,), optional
        Primary unit, counted from 0; of a systematic sample the random start, whose lattice is one.
    place : float64 array (n, 2), optional
        x and y in the grid's CRS, for the local variance of a systematic sample.
    """

    design: SampleDesign
    stratum: Ints
    weight: Floats
    cluster: Ints | None = None
    place: Floats | None = None

    @classmethod
    def of(
        cls,
        design: SampleDesign,
        stratum: Ints,
        probability: Floats | None = None,
        size: Floats | None = None,
        *,
        cluster: Ints | None = None,
        place: Floats | None = None,
    ) -> Units:
        """Units with weights from their inclusion probabilities and the sizes of their pixels.

        Parameters
        ----------
        design : SampleDesign
        stratum : int64 array (n,)
            Position in the strata.
        probability : float64 array (n,), optional
            Of inclusion; equal within a stratum when omitted.
        size : float64 array (n,), optional
            Of each pixel, in any unit; equal when omitted.
        cluster, place
            See the attributes.

        Raises
        ------
        RecipeError
            When a stratum has no unit: what it holds can't be estimated.
        """
        shares = np.ones(len(stratum)) if probability is None else 1 / probability
        if size is not None:
            shares = shares * size
        sums = np.bincount(stratum, shares, len(design.strata))
        empty = [s for s, total in zip(design.strata, sums, strict=True) if not total > 0]
        if empty:
            named = ", ".join(f"{s.name!r} ({s.hectares:,.1f} ha)" for s in empty[:3])
            raise RecipeError(
                f"{len(empty)} of {len(design.strata)} strata have no interpreted unit: {named}; "
                "the sample must cover the whole map: interpret units of each, or draw some"
            )
        weight = shares * (design.sizes / sums)[stratum]
        if cluster is not None:
            cluster = np.unique(cluster, return_inverse=True)[1].astype(np.int64)
        return cls(design, stratum, weight, cluster, place)

    def __len__(self) -> int:
        return len(self.stratum)

    @property
    def is_clustered(self) -> bool:
        """Whether units lie together in primary units; those of a random start lie everywhere."""
        return self.cluster is not None and self.design.kind != "systematic"

    @cached_property
    def counts(self) -> Ints:
        """Units of each stratum ``(H,)``."""
        return np.bincount(self.stratum, minlength=len(self.design.strata))

    @cached_property
    def unsampled(self) -> Floats:
        """Share of the pixels of each stratum that are not in the sample ``(H,)``.

        The finite population correction; 1 where the size of the population is not known.
        """
        shares: Floats = np.clip(1 - self.counts / self.design.pixels, 0, 1)
        return shares

    @property
    def left(self) -> Floats:
        """Of each unit the share of its stratum that is not in the sample ``(n,)``.

        0 for units that have no sampling error; 1 where clusters were drawn, whatever they hold.
        """
        if self.is_clustered:
            return np.ones(len(self))
        return self.unsampled[self.stratum]

    def has_whole_strata(self, used: npt.NDArray[np.bool_]) -> bool:
        """Whether some units are strata of which the sample has all, so that they have no error.

        False where a stratum of theirs holds others too: it was not drawn by what they are, so
        that units outside of the sample may be like them.
        """
        count = len(self.counts)
        theirs = np.bincount(self.stratum, used, count)
        mixed = (theirs > 0) & (theirs < self.counts)
        return not (mixed.any() or np.bincount(self.stratum, used * self.left, count).any())

    def independent(self, group: Ints, count: int) -> Ints:
        """Units in each of some groups ``(count,)``; clusters with one, where these were drawn.

        Parameters
        ----------
        group : int64 array (n,)
            Of each unit, from 0.
        count : int
        """
        if self.cluster is not None and self.is_clustered:
            group = np.unique(np.stack([self.cluster, group]), axis=1)[1]
        return np.bincount(group, minlength=count)

    @cached_property
    def neighbours(self) -> Ints | None:
        """Nearest units of each unit ``(n, 4)`` of a systematic sample; None of others."""
        if self.design.kind != "systematic" or self.place is None or len(self) < 2:
            return None
        from scipy.spatial import cKDTree

        near = min(_NEIGHBOURS, len(self) - 1)
        neighbours: Ints = cKDTree(self.place).query(self.place, k=near + 1)[1][:, 1:]
        return neighbours

    @cached_property
    def degrees(self) -> float:
        """Degrees of freedom of a variance: infinite for units, clusters or starts less one."""
        if self.cluster is None:
            return float("inf")
        return float(max(int(self.cluster.max()), 1))
