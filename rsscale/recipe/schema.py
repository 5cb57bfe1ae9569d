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
from rsscale.cube.mask_rules import mask_rules
from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import MAX_RESOLUTION, MAX_TILE, Grid
from rsscale.net.headers import HeaderRules
from rsscale.net.signing import access_name, check_name
from rsscale.recipe.steps import StepRecipe, check_steps, in_order
from rsscale.redaction import shown, strip_addresses

Year = Annotated[int, Field(ge=1, le=9998)]
# Part of the names of files.
InputName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]  # refuses NaN and infinity too
Nodata = Annotated[float, Field(allow_inf_nan=True)]
MonthDay = Annotated[str, Field(pattern=r"^(-1-)?\d{2}-\d{2}$")]


def _split_bands(bands: list[Any], names: Any) -> dict[str, Any]:
    """A list of bands, some as ``{name: names}``, as the keys ``bands`` and ``names``."""
    found = dict(names) if isinstance(names, dict) else {}
    plain: list[Any] = []
    for band in bands:
        plain += list(band) if isinstance(band, dict) else [band]
        found |= band if isinstance(band, dict) else {}
    return {"bands": plain, **({"names": found} if found else {})}


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
    """Which pixels are valid: a preset by name, codes or bits of a band, or several such rules."""

    rules: tuple[str | dict[str, Any], ...] | None = None
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
        if self.rules is None and self.preset is None and self.band is None:
            raise ValueError("needs 'preset', or 'band' with 'keep', 'drop', 'bits' or 'fields'")
        if self.rules is not None and self.model_fields_set - {"rules", "dilate"}:
            raise ValueError("has 'rules' and a rule beside them; put it among them")
        with _as_value_error():
            mask_rules(self.rule)
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that it reads."""
        return tuple(rule.band for rule in mask_rules(self.rule))

    @property
    def rule(self) -> str | dict[str, Any] | list[str | dict[str, Any]]:
        """The argument ``by`` of :func:`rsscale.mask`."""
        if self.rules is not None:
            return list(self.rules)
        if self.preset is not None:
            return self.preset
        return self.model_dump(exclude={"preset", "dilate"}, exclude_none=True)


class CompositeRecipe(_Strict):
    """Time windows of a period, and how the observations of each are reduced."""

    by: str | dict[str, Any] | None = None
    windows: dict[str, tuple[MonthDay, MonthDay]] | None = None
    reducer: str = "median"
    missing: Literal["leave", "neighbour", "linear", "year"] = "leave"

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


ACCESS = ("catalog", "sign", "headers", "loader", "on_error")
"""Keys of an input that say how it is reached: they may change while a run is not finished."""

FINDING = ("collection", "query", "names", "exclude", "missing_asset", "alternate")
"""Keys of an input that say which items and files it has: those themselves are frozen."""


class InputRecipe(_Strict):
    """One source of imagery, or of a layer that does not change."""

    catalog: str
    collection: str | tuple[Name, ...] | None = None
    bands: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    names: dict[str, str | tuple[str, ...] | dict[str, str]] = Field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    missing_asset: Literal["fail", "skip"] = "fail"
    alternate: tuple[Name, ...] = ()
    query: dict[str, dict[str, Any]] | None = None
    mask: MaskRecipe | None = None
    composite: CompositeRecipe = CompositeRecipe(by="season")
    # The observations themselves, of a year or of a span of days, in place of composites.
    series: Literal[True] | tuple[MonthDay, MonthDay] | None = None
    sign: str | None = None
    headers: dict[str, dict[str, str]] | None = None
    static: bool = False
    harmonize: bool = True
    merge_days: bool = False
    decibel: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    loader: Literal["stackstac", "odc-stac", "dask"] = "dask"
    resampling: dict[str, Literal["nearest", "bilinear", "cubic"]] = Field(default_factory=dict)
    nodata: dict[str, Nodata | Literal["none"]] | None = None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What a notebook shows: the catalogue's address without user name and query."""
        for name, value in super().__repr_args__():
            yield name, shown(value) if name == "catalog" else value

    def processing(self) -> dict[str, Any]:
        """Keys that decide a pixel's value, given the items: not those that find or reach them."""
        plain = self.model_dump(mode="json", exclude_none=True, exclude={*ACCESS, *FINDING})
        # It was part of the fingerprint once: tiles that were made then are still what they were.
        return plain | {"on_error": "fail"}

    @property
    def requests(self) -> list[str | dict[str, Any]]:
        """The bands and those of the mask, with their names, as :func:`rsscale.load` takes them."""
        every = [*self.bands, *(self.mask.bands if self.mask else ())]
        return [{band: self.names[band]} if band in self.names else band for band in every]

    @property
    def access(self) -> str | None:
        """How access is gained, as :func:`rsscale.net.signing.signer` takes it."""
        return access_name(self.sign, self.headers)

    @field_validator("headers", mode="before")
    @classmethod
    def _named_not_held(cls, value: Any) -> Any:
        """Before anything else looks at it: pydantic's messages quote what they find."""
        if value is not None:
            with _as_value_error():
                HeaderRules.of(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """Bands as ``{name: names}``, a mask as a list, one alternate as a text."""
        if not isinstance(value, dict):
            return value
        value = dict(value)
        if isinstance(value.get("bands"), list):
            value |= _split_bands(value["bands"], value.get("names"))
        if isinstance(value.get("mask"), list):
            value["mask"] = {"rules": value["mask"]}
        if isinstance(value.get("alternate"), str):
            value["alternate"] = [value["alternate"]]
        return value

    @model_validator(mode="after")
    def _names_are_of_bands(self) -> Self:
        known = [*self.bands, *(self.mask.bands if self.mask else ())]
        for band, where in self.names.items():
            if band not in known:
                raise ValueError(f"names {band!r}, which is none of {known}{nearest(band, known)}")
            if not where:
                raise ValueError(f"'names' has nothing for {band!r}; give what it is called")
        return self

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

    @model_validator(mode="after")
    def _series_has_no_windows(self) -> Self:
        if self.series is not None:
            if "composite" in self.model_fields_set or self.static:
                raise ValueError("'series' has no 'composite' and is not 'static': choose one")
            with _as_value_error():
                time_windows(self.series_rule, 2000)
        return self

    @property
    def series_rule(self) -> dict[str, Any]:
        """The one window of a series, as :func:`time_windows` takes it."""
        span = ("01-01", "12-31") if self.series in (True, None) else self.series
        return {"windows": {"series": span}}

    @model_validator(mode="after")
    def _mask_is_nearest(self) -> Self:
        for band in self.mask.bands if self.mask else ():
            method = self.resampling.get(band, "nearest")
            if method != "nearest":
                raise ValueError(
                    f"resampling of {band!r} is {method!r}, and the mask reads its codes or bits; "
                    "leave it out: a mask's band is read by nearest"
                )
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
    labels_layer: str | None = None
    class_: str = Field(alias="class")
    classes: tuple[ClassRecipe, ...] | None = None
    periods: tuple[Year, ...] | None = None
    period_column: str | None = None
    all_touched: bool = False
    priority: tuple[str, ...] = ()
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

    @field_validator("classes")
    @classmethod
    def _one_class_each(
        cls, value: tuple[ClassRecipe, ...] | None
    ) -> tuple[ClassRecipe, ...] | None:
        for field in ("value", "name"):
            keys = [getattr(land_class, field) for land_class in value or ()]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise ValueError(
                    f"two classes have the {field} {twice!r}; to merge classes, give their "
                    "features one name in the labels: a class has one value and one name"
                )
        return value


class OutputRecipe(_Strict):
    """Which layers are written."""

    # Those of the model's output, and observations; the usual ones when omitted.
    layers: tuple[Name, ...] | None = None


class ChangeRecipe(_Strict):
    """Change between two of the periods."""

    from_: Year = Field(alias="from")
    to: Year
    method: Literal["post-classification"] = "post-classification"


class Recipe(_Strict):
    """A whole recipe; see ``recipes/landcover.yaml`` for every key with comments."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$", max_length=200)
    area: str | None = None
    area_layer: str | None = None
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
    # Digests of models that are programs and may run, as `--trust` records them.
    trust: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")], ...] = ()
    folder: Path = Field(default=Path(), exclude=True)  # that relative paths of steps count from

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.area is None) == (self.bbox is None):
            raise ValueError("needs either 'area' (a file) or 'bbox' ([west, south, east, north])")
        if self.area_layer is not None and self.area is None:
            raise ValueError("'area_layer' names a layer of 'area', which is not there")
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
            options: dict[str, Any] = {"model": self.model}
            if self.output.layers is not None:
                options["layers"] = list(self.output.layers)
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
            name: input_recipe.model_copy(
                update={"catalog": catalogs.get(name, input_recipe.catalog)}
            )
            for name, input_recipe in self.inputs.items()
        }
        return self.model_copy(update={"inputs": inputs})

    def with_access(self, other: Recipe) -> Recipe:
        """The recipe, with the keys of access that another one has for the same inputs."""
        inputs = {
            name: imagery.model_copy(
                update={key: getattr(other.inputs[name], key) for key in ACCESS}
                if name in other.inputs
                else {}
            )
            for name, imagery in self.inputs.items()
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
