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
    """``{kind: sample, of: STEP, design:, strata:, size:, …}``.

    Attributes
    ----------
    design : str
        ``"simple"``, ``"stratified"``, ``"systematic"`` or ``"two-stage"``.
    strata : tuple of str
        ``"class"`` of the map; ``"transition"``, each pair of classes of two periods;
        ``"change"``, each class that stayed and all that changed as one; ``"regions"``, polygons;
        ``"raster"``. Several are crossed. ``class`` when a stratified sample names none.
    layer : str
        Of classes. For a change map with ``from`` and ``to``, these, where strata are of change.
    periods : tuple of int
        One, or two that a sample of change compares. The step's last period when empty, or the
        pair of a step of change.
    regions, regions_layer, id : str
        A vector file, its layer, and the column of the polygons' names.
    raster : str
        A raster of strata, whole numbers; ``raster_codes`` and ``raster_names`` translate them.
    outside : str, optional
        What becomes of mapped pixels that no region and no value of the raster covers:
        ``"stratum"`` or ``"leave-out"``. Refused when omitted.
    least_hectares : float
        Strata that are smaller become one.
    size : int
        Units in all. From the target standard errors when omitted.
    sizes : mapping of stratum to int
        Units of each stratum, instead of ``size`` and ``allocation``.
    standard_error : float
        Target of the overall accuracy, a share.
    area_standard_errors : mapping of class to float
        Targets of areas, hectares.
    expected : float or mapping of stratum or class to float
        Expected user's accuracies, shares; 0.85 where a mapping has none.
    allocation : str
        ``"olofsson"``: ``minimum`` units for each rare stratum, the rest proportional to area, and
        no more than half of all units in minimums;
        ``"proportional"``, ``"equal"``, ``"neyman"``.
    optimal_for : str, optional
        The class whose area ``"neyman"`` is optimal for; the overall accuracy when omitted.
    minimum : int
    spacing : float
        Of a systematic sample, metres.
    starts : int
        Random starts of a systematic sample.
    block : float
        Width of a primary unit of two stages, metres.
    blocks, per_block : int
        How many are drawn, and pixels in each (of each stratum in it, where there are strata).
    chosen : str
        Primary units are drawn with ``"equal"`` probability, or proportional to ``"size"``, their
        mapped pixels, with replacement.
    lattice : (int, int), optional
        Rows and columns of pixels that ``spacing`` or ``block`` is; by their metres on the ground
        at the centre of all tiles when omitted.
    correlation : float
        Expected correlation of errors inside a primary unit, for expected standard errors.
    seed : int
    count_only : bool
        Count the strata and draw nothing.
    """

    design: Design = "stratified"
    strata: tuple[str, ...] = ()
    layer: str = "classification"
    periods: tuple[int, ...] = ()
    regions: str | None = None
    regions_layer: str | None = None
    id: str | None = None
    raster: str | None = None
    raster_codes: dict[str, int] = Field(default_factory=dict)
    raster_names: dict[str, str] = Field(default_factory=dict)
    outside: Literal["stratum", "leave-out"] | None = None
    least_hectares: float = Field(default=0.0, ge=0)
    size: int | None = Field(default=None, ge=1)
    sizes: dict[str, int] | None = None
    standard_error: float | None = Field(default=None, gt=0, lt=0.5)
    area_standard_errors: dict[str, float] = Field(default_factory=dict)
    expected: float | dict[str, float] = 0.85
    allocation: Allocation = "olofsson"
    optimal_for: str | None = None
    minimum: int = Field(default=50, ge=2)
    spacing: float | None = Field(default=None, gt=0)
    starts: int = Field(default=1, ge=1)
    block: float | None = Field(default=None, gt=0)
    blocks: int | None = Field(default=None, ge=2)
    per_block: int = Field(default=10, ge=1)
    chosen: Literal["equal", "size"] = "equal"
    lattice: tuple[int, int] | None = None
    correlation: float = Field(default=0.05, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    count_only: bool = False

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
