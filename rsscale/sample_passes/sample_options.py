"""The options of a sample: which design, which strata, how many units."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from rsscale.errors import nearest
from rsscale.steps.options import Options, check_in_order

Design = Literal["simple", "stratified", "systematic", "two-stage"]
Allocation = Literal["proportional", "equal", "olofsson", "neyman"]
ALLOCATIONS: tuple[Allocation, ...] = ("olofsson", "proportional", "equal", "neyman")
STRATA = ("class", "transition", "change", "regions", "raster")
_OF_CLASSES = STRATA[:3]


class SampleOptions(Options):
    """``{kind: sample, of: STEP, design:, strata:, size:, …}``."""

    design: Design = "stratified"
    """How units are drawn."""
    strata: tuple[str, ...] = ()
    """`class` of the map; `transition`, each pair of classes of two periods; `change`, each class
    that stayed and all that changed as one; `regions`, polygons; `raster`. Several are crossed.
    `class` when a stratified sample names none."""
    layer: str = "classification"
    """The layer of classes. For a change map with `from` and `to`, these, where strata are of
    change."""
    periods: tuple[int, ...] = ()
    """One, or two that a sample of change compares. The step's last period when left out, or the
    pair of a step of change."""
    regions: str | None = None
    """A vector file of polygons that are strata."""
    regions_layer: str | None = None
    """The layer of `regions`, where the file has several."""
    id: str | None = None
    """The column of the polygons' names."""
    raster: str | None = None
    """A raster of strata, whole numbers."""
    raster_codes: dict[str, int] = Field(default_factory=dict)
    """Numbers of strata by the raster's values; `rsscale design` reads them from the raster."""
    raster_names: dict[str, str] = Field(default_factory=dict)
    """Names of strata by their numbers; `rsscale design` reads them from the raster."""
    outside: Literal["stratum", "leave-out"] | None = None
    """What becomes of mapped pixels that no region and no value of the raster covers: a `stratum`,
    or `leave-out`. Refused when left out."""
    least_hectares: float = Field(default=0.0, ge=0)
    """Strata that are smaller become one."""
    size: int | None = Field(default=None, ge=1)
    """Units in all; from the target standard errors when left out."""
    sizes: dict[str, int] | None = None
    """Units of each stratum, instead of `size` and `allocation`."""
    standard_error: float | None = Field(default=None, gt=0, lt=0.5)
    """Target of the overall accuracy, a share."""
    area_standard_errors: dict[str, float] = Field(default_factory=dict)
    """Targets of areas by class, hectares."""
    expected: float | dict[str, float] = 0.85
    """Expected user's accuracies, shares, of all or by stratum or class; 0.85 where a mapping has
    none."""
    allocation: Allocation = "olofsson"
    """How units are shared out: `olofsson` gives `minimum` units to each rare stratum and the rest
    in proportion to area, with no more than half of all units in minimums; `proportional`; `equal`;
    `neyman`."""
    optimal_for: str | None = None
    """The class whose area `neyman` is optimal for; the overall accuracy when left out."""
    minimum: int = Field(default=50, ge=2)
    """Units of a rare stratum, at least."""
    spacing: float | None = Field(default=None, gt=0)
    """Of a systematic sample, metres."""
    starts: int = Field(default=1, ge=1)
    """Random starts of a systematic sample."""
    block: float | None = Field(default=None, gt=0)
    """Width of a primary unit of two stages, metres."""
    blocks: int | None = Field(default=None, ge=2)
    """Primary units that are drawn."""
    per_block: int = Field(default=10, ge=1)
    """Pixels in each primary unit (of each stratum in it, where there are strata)."""
    chosen: Literal["equal", "size"] = "equal"
    """Primary units are drawn with `equal` probability, or in proportion to their `size`, their
    mapped pixels, with replacement."""
    lattice: tuple[int, int] | None = None
    """Rows and columns of pixels that `spacing` or `block` is; by their metres on the ground at the
    centre of all tiles when left out."""
    correlation: float = Field(default=0.05, ge=0, lt=1)
    """Expected correlation of errors inside a primary unit, for expected standard errors."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the random numbers; the same seed draws the same units."""
    count_only: bool = False
    """Count the strata and draw nothing."""

    @field_validator("strata")
    @classmethod
    def _known(cls, strata: tuple[str, ...]) -> tuple[str, ...]:
        for name in strata:
            if name not in STRATA:
                raise ValueError(
                    f"names {name!r}; expected some of {', '.join(STRATA)}{nearest(name, STRATA)}"
                )
        if len([name for name in strata if name in _OF_CLASSES]) > 1:
            raise ValueError(f"has several of {', '.join(_OF_CLASSES)}; expected one of them")
        if len(set(strata)) < len(strata):
            raise ValueError("names one twice")
        return strata

    @field_validator("expected")
    @classmethod
    def _shares(cls, expected: float | dict[str, float]) -> float | dict[str, float]:
        given = expected.items() if isinstance(expected, dict) else [("", expected)]
        for name, value in given:
            if not 0 < value <= 1:
                of = f" of {name!r}" if name else ""
                raise ValueError(f"is {value:g}{of}; expected a user's accuracy, above 0 up to 1")
        return expected

    @field_validator("periods")
    @classmethod
    def _one_or_two(cls, periods: tuple[int, ...]) -> tuple[int, ...]:
        if len(periods) > 2:
            raise ValueError(f"has {len(periods)}; expected one period, or two to compare")
        if len(periods) == 2:
            check_in_order(*periods)
        return periods

    @model_validator(mode="after")
    def _fit(self) -> SampleOptions:
        _check_files(self)
        _check_design(self)
        _check_sizes(self)
        return self

    @property
    def stratified_by(self) -> tuple[str, ...]:
        """Strata, by class where a stratified design names none."""
        if self.design == "stratified" and not self.strata:
            return ("class",)
        return self.strata

    def expected_of(self, *names: str) -> float:
        """The expected user's accuracy by the first of some names that has one."""
        if not isinstance(self.expected, dict):
            return self.expected
        return next((self.expected[n] for n in names if n in self.expected), 0.85)


def _check_files(options: SampleOptions) -> None:
    if (options.regions is None) != (options.id is None):
        raise ValueError("has one of 'regions' and 'id'; the file and its column go together")
    for name in ("regions", "raster"):
        if (name in options.strata) != (getattr(options, name) is not None):
            raise ValueError(f"strata by {name!r} need the file {name}, and the reverse")


def _check_design(options: SampleOptions) -> None:
    if options.design in ("simple", "systematic") and options.strata:
        raise ValueError(
            f"a {options.design} sample has no strata; leave them out, or use design: stratified "
            "(--design stratified)"
        )
    if options.design == "systematic" and options.size is None and options.spacing is None:
        raise ValueError("a systematic sample needs 'spacing' (--spacing) in metres, or 'size'")
    if options.design == "two-stage" and options.block is None:
        raise ValueError(
            "a two-stage sample needs 'block' (--block), the width of a primary unit in metres"
        )


def _check_sizes(options: SampleOptions) -> None:
    if options.sizes is not None and options.design != "stratified":
        raise ValueError("'sizes' are of strata; use design: stratified, or 'size'")
    for name, size in (options.sizes or {}).items():
        if size < 0:
            raise ValueError(f"sizes: {name!r} is {size}; expected 0 or more units")
    for name, target in options.area_standard_errors.items():
        if not target > 0:
            raise ValueError(f"area_standard_errors: {name!r} is {target:g}; expected hectares")
    if options.optimal_for is not None and options.allocation != "neyman":
        raise ValueError("'optimal_for' names the class of allocation: neyman")
