"""The keys of a recipe, each checked by itself and with the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rsscale.composites.reducer_names import check_reducer
from rsscale.composites.time_windows import time_windows
from rsscale.cube.mask_rules import mask_rule
from rsscale.errors import RecipeError
from rsscale.geo.grid import MAX_RESOLUTION, MAX_TILE, Grid
from rsscale.net.signing import check_name
from rsscale.recipe.steps import StepRecipe, check_steps, in_order
from rsscale.redaction import shown, strip_addresses

LayerName = Literal["classification", "confidence", "observations", "probability"]
Year = Annotated[int, Field(ge=1, le=9998)]
# Part of the names of files.
InputName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]  # refuses NaN and infinity too
MonthDay = Annotated[str, Field(pattern=r"^(-1-)?\d{2}-\d{2}$")]


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn a RecipeError of a lower layer into the ValueError that pydantic reports."""
    try:
        yield
    except RecipeError as error:
        raise ValueError(str(error)) from None


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )


class GridRecipe(_Strict):
    """The global pixel grid; see :class:`rsscale.Grid`."""

    crs: str
    resolution: float = Field(gt=0, le=MAX_RESOLUTION)
    tile: int = Field(default=2048, ge=1, le=MAX_TILE)
    origin: tuple[Coordinate, Coordinate] = (0.0, 0.0)

    def build(self) -> Grid:
        """The grid."""
        return Grid(self.crs, self.resolution, self.tile, self.origin)


class MaskRecipe(_Strict):
    """Which pixels are valid: a preset by name, or codes or bits of a band."""

    preset: str | None = None
    band: str | None = None
    keep: tuple[int, ...] | None = None
    drop: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None
    fields: dict[str, tuple[int, ...]] | None = None
    unseen: tuple[int, ...] | None = None
    dilate: float = Field(default=0.0, ge=0, le=100_000)  # metres

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.preset is None and self.band is None:
            raise ValueError("needs 'preset', or 'band' with 'keep', 'drop', 'bits' or 'fields'")
        with _as_value_error():
            mask_rule(self.rule)
        return self

    @property
    def rule(self) -> str | dict[str, Any]:
        """The argument ``by`` of :func:`rsscale.mask`."""
        if self.preset is not None:
            return self.preset
        return self.model_dump(exclude={"preset", "dilate"}, exclude_none=True)


class CompositeRecipe(_Strict):
    """Time windows of a period, and how the observations of each are reduced."""

    by: str | dict[str, Any] | None = None
    windows: dict[str, tuple[MonthDay, MonthDay]] | None = None
    reducer: str = "median"
    missing: Literal["leave", "neighbour", "year"] = "leave"

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.by is None) == (self.windows is None):
            raise ValueError("needs either 'by' (year, season, month, days) or 'windows'")
        with _as_value_error():
            time_windows(self.rule, 2000)
            check_reducer(self.reducer)
        return self

    @property
    def rule(self) -> str | dict[str, Any]:
        """The argument ``by`` of :func:`rsscale.composite`."""
        return self.by if self.by is not None else {"windows": self.windows}


ACCESS = ("catalog", "sign", "loader")
"""Keys of an input that say how it is reached: they change no pixel."""

FINDING = ("collection", "query")
"""Keys of an input that say which items it has: the items themselves are frozen."""


class InputRecipe(_Strict):
    """One source of imagery, or of a layer that does not change."""

    catalog: str
    collection: str | None = None
    bands: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    query: dict[str, dict[str, Any]] | None = None
    mask: MaskRecipe | None = None
    composite: CompositeRecipe = CompositeRecipe(by="season")
    sign: str | None = None
    static: bool = False
    harmonize: bool = True
    merge_days: bool = False
    decibel: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    loader: Literal["stackstac", "odc-stac", "dask"] = "dask"
    resampling: dict[str, Literal["nearest", "bilinear", "cubic"]] = Field(default_factory=dict)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What a notebook shows: the catalogue's address without user name and query."""
        for name, value in super().__repr_args__():
            yield name, shown(value) if name == "catalog" else value

    def processing(self) -> dict[str, Any]:
        """Keys that decide a pixel's value, given the items: not those that find or reach them."""
        return self.model_dump(mode="json", exclude_none=True, exclude={*ACCESS, *FINDING})

    @field_validator("sign")
    @classmethod
    def _known_signer(cls, value: str | None) -> str | None:
        with _as_value_error():
            return None if value is None else check_name(value)

    @model_validator(mode="after")
    def _static_has_no_time(self) -> Self:
        if self.static and (self.merge_days or self.composite.missing != "leave"):
            raise ValueError("'static' has no days to merge and no windows to fill")
        return self

    @field_validator("mask", mode="before")
    @classmethod
    def _preset_by_name(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value


class ClassRecipe(_Strict):
    """A class of the map."""

    value: int = Field(ge=0, le=254)
    name: str
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


class SplitRecipe(_Strict):
    """Validation by spatial blocks."""

    blocks: float = Field(default=5000.0, gt=0, le=1e8)  # metres
    validation: float = Field(default=0.2, ge=0, lt=1)


class TrainRecipe(_Strict):
    """Options of ``rsscale train``."""

    labels: str
    class_: str = Field(alias="class")
    classes: tuple[ClassRecipe, ...] | None = None
    periods: tuple[Year, ...] | None = None
    period_column: str | None = None
    split: SplitRecipe = SplitRecipe()
    architecture: str = "unet"
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    stride: int = Field(default=512, ge=1, le=8192)
    halo: int = Field(default=32, ge=0, le=8192)
    blend: Literal["trim", "hann"] = "trim"
    chip: int = Field(default=256, ge=32, le=8192)
    steps: int = Field(default=350, ge=1, le=10**9)
    batch: int = Field(default=8, ge=1, le=65536)
    learning_rate: float = Field(default=3e-3, gt=0, le=1e6)
    seed: int = 0


class OutputRecipe(_Strict):
    """Which layers are written."""

    layers: tuple[LayerName, ...] = ("classification", "confidence", "observations")

    @field_validator("layers")
    @classmethod
    def _has_classification(cls, value: tuple[LayerName, ...]) -> tuple[LayerName, ...]:
        if "classification" not in value:
            raise ValueError("must contain 'classification'")
        return value


class ChangeRecipe(_Strict):
    """Change between two of the periods."""

    from_: Year = Field(alias="from")
    to: Year
    method: Literal["post-classification"] = "post-classification"


class Recipe(_Strict):
    """A whole recipe; see ``recipes/landcover.yaml`` for every key with comments."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$", max_length=200)
    area: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    grid: GridRecipe
    periods: tuple[Year, ...] = Field(min_length=1, max_length=1000)
    inputs: dict[InputName, InputRecipe] = Field(default_factory=dict)
    model: str | dict[Year, str] | None = None
    train: TrainRecipe | None = None
    output: OutputRecipe = OutputRecipe()
    change: ChangeRecipe | None = None
    steps: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=100)], StepRecipe
    ] = Field(default_factory=dict)
    folder: Path = Field(default=Path(), exclude=True)  # that relative paths of steps count from

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.area is None) == (self.bbox is None):
            raise ValueError("needs either 'area' (a file) or 'bbox' ([west, south, east, north])")
        if not self.inputs and (self.model is not None or self.train is not None):
            raise ValueError("needs 'inputs': the imagery that a model sees")
        if list(self.periods) != sorted(set(self.periods)):
            raise ValueError(f"'periods' is {list(self.periods)}; list each year once, in order")
        if isinstance(self.model, dict):
            missing = [p for p in self.periods if p not in self.model]
            if missing:
                raise ValueError(f"'model' names no model for the period {missing[0]}")
        if self.change and not {self.change.from_, self.change.to} <= set(self.periods):
            raise ValueError(
                f"'change' is from {self.change.from_} to {self.change.to}; "
                f"both must be among 'periods' {list(self.periods)}"
            )
        check_steps(self.steps, self._short_form(), list(self.inputs))
        return self

    @property
    def all_steps(self) -> dict[str, StepRecipe]:
        """Every step, those of the short form too, each after the ones that it reads."""
        return in_order(self._short_form() | self.steps)

    def _short_form(self) -> dict[str, StepRecipe]:
        """The steps that ``model``, ``output`` and ``change`` stand for."""
        steps = {}
        if self.model is not None:
            options: dict[str, Any] = {"model": self.model, "layers": list(self.output.layers)}
            steps["map"] = StepRecipe(kind="predict", **options)
        if self.change is not None:
            years: dict[str, Any] = {"from": self.change.from_, "to": self.change.to}
            steps["change"] = StepRecipe(kind=self.change.method, of="map", **years)
        return steps

    def with_catalogs(self, catalogs: Mapping[str, str]) -> Recipe:
        """The recipe with other addresses of some inputs' catalogues."""
        unknown = [name for name in catalogs if name not in self.inputs]
        if unknown:
            raise RecipeError(
                f"there is no input {unknown[0]!r} to search; the recipe has {list(self.inputs)}"
            )
        inputs = {
            name: one.model_copy(update={"catalog": catalogs.get(name, one.catalog)})
            for name, one in self.inputs.items()
        }
        return self.model_copy(update={"inputs": inputs})

    def path(self, name: str) -> str:
        """A path that a step names, counted from the recipe's folder; addresses as they are."""
        return name if "://" in name else os.path.normpath(self.folder / Path(name).expanduser())

    def to_yaml(self) -> str:
        """The recipe as YAML that :func:`read_recipe` reads back: the same, without secrets.

        Addresses keep what is needed to find a file or a catalogue, and no user, password or token.
        """
        # Elsewhere, paths that steps name still count from where the recipe was.
        folder = {"folder": str(self.folder)} if self.steps else {}
        plain = folder | self.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
        )
        return yaml.safe_dump(strip_addresses(plain), sort_keys=False, width=100)
