"""The recipe: everything that decides a map, as data.

A recipe is a YAML file without code. It is checked whole before anything else happens, and
a mistake is told in one line with its place and the nearest name that would have been right.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rsscale.composites.reducer_names import check_reducer
from rsscale.composites.time_windows import time_windows
from rsscale.cube.mask_rules import mask_rule
from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import Grid
from rsscale.net.signing import check_name

Layer = Literal["classification", "confidence", "observations", "probability"]
MonthDay = Annotated[str, Field(pattern=r"^(-1-)?\d{2}-\d{2}$")]


@contextmanager
def _told() -> Iterator[None]:
    """What the data layer says of a value, as pydantic wants to hear it."""
    try:
        yield
    except RecipeError as error:
        raise ValueError(str(error)) from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class GridRecipe(_Strict):
    """The global pixel grid; see :class:`rsscale.Grid`."""

    crs: str
    resolution: float = Field(gt=0)
    tile: int = Field(default=2048, ge=1)
    origin: tuple[float, float] = (0.0, 0.0)

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
    dilate: float = Field(default=0.0, ge=0)  # metres

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.preset is None and self.band is None:
            raise ValueError("needs 'preset', or 'band' with 'keep', 'drop', 'bits' or 'fields'")
        with _told():
            mask_rule(self.rule)
        return self

    @property
    def rule(self) -> str | dict[str, Any]:
        """What :func:`rsscale.mask` takes."""
        if self.preset is not None:
            return self.preset
        return self.model_dump(exclude={"preset", "dilate"}, exclude_none=True)


class CompositeRecipe(_Strict):
    """Time windows of a period, and how the looks of each are reduced."""

    by: str | dict[str, Any] | None = None
    windows: dict[str, tuple[MonthDay, MonthDay]] | None = None
    reducer: str = "median"
    missing: Literal["leave", "neighbour", "year"] = "leave"

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.by is None) == (self.windows is None):
            raise ValueError("needs either 'by' (year, season, month, days) or 'windows'")
        with _told():
            time_windows(self.rule, 2000)
            check_reducer(self.reducer)
        return self

    @property
    def rule(self) -> str | dict[str, Any]:
        """What :func:`rsscale.composite` takes as ``by``."""
        return self.by if self.by is not None else {"windows": self.windows}


class InputRecipe(_Strict):
    """One source of imagery, or of a layer that does not change."""

    catalog: str
    collection: str | None = None
    bands: tuple[str, ...] = Field(min_length=1)
    query: dict[str, dict[str, Any]] | None = None
    mask: MaskRecipe | None = None
    composite: CompositeRecipe = CompositeRecipe(by="season")
    sign: str | None = None
    static: bool = False
    harmonize: bool = True
    merge_days: bool = False
    decibel: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    loader: Literal["stackstac", "odc-stac"] = "stackstac"
    resampling: dict[str, Literal["nearest", "bilinear", "cubic"]] = Field(default_factory=dict)

    @field_validator("sign")
    @classmethod
    def _known_signer(cls, value: str | None) -> str | None:
        with _told():
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

    blocks: float = Field(default=5000.0, gt=0)  # metres
    validation: float = Field(default=0.2, ge=0, lt=1)


class TrainRecipe(_Strict):
    """What ``rsscale train`` does."""

    labels: str
    class_: str = Field(alias="class")
    classes: tuple[ClassRecipe, ...] | None = None
    periods: tuple[int, ...] | None = None
    period_column: str | None = None
    split: SplitRecipe = SplitRecipe()
    architecture: str = "unet"
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    stride: int = Field(default=512, ge=1)
    halo: int = Field(default=32, ge=0)
    blend: Literal["trim", "hann"] = "trim"
    chip: int = Field(default=256, ge=32)
    steps: int = Field(default=350, ge=1)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    seed: int = 0


class OutputRecipe(_Strict):
    """Which layers are written."""

    layers: tuple[Layer, ...] = ("classification", "confidence", "observations")

    @field_validator("layers")
    @classmethod
    def _has_classification(cls, value: tuple[Layer, ...]) -> tuple[Layer, ...]:
        if "classification" not in value:
            raise ValueError("must contain 'classification'")
        return value


class ChangeRecipe(_Strict):
    """Change between two of the periods."""

    from_: int = Field(alias="from")
    to: int
    method: Literal["post-classification"] = "post-classification"


class Recipe(_Strict):
    """A whole recipe; see ``recipes/landcover.yaml`` for every key with comments."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$")
    area: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    grid: GridRecipe
    periods: tuple[int, ...] = Field(min_length=1)
    inputs: dict[str, InputRecipe] = Field(min_length=1)
    model: str | dict[int, str]
    train: TrainRecipe | None = None
    output: OutputRecipe = OutputRecipe()
    change: ChangeRecipe | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.area is None) == (self.bbox is None):
            raise ValueError("needs either 'area' (a file) or 'bbox' ([west, south, east, north])")
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
        return self

    def model_path(self, period: int) -> str:
        """Folder of the model for a period."""
        return self.model if isinstance(self.model, str) else self.model[period]

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

    def map_hash(self) -> str:
        """Hash of what decides a pixel's value, apart from the model and the frozen items."""
        return _hash(
            self._plain(include={"inputs", "output"})
            | {"grid": self.grid.model_dump(mode="json", exclude={"tile"})}
        )

    def layout_hash(self) -> str:
        """Hash of how the work is cut."""
        return _hash({"tile": self.grid.tile})

    def _plain(self, **options: Any) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, **options)

    def to_yaml(self) -> str:
        """The recipe as YAML that :func:`read_recipe` reads back to the same recipe."""
        return yaml.safe_dump(self._plain(exclude_defaults=True), sort_keys=False, width=100)


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; local paths in it become absolute.

    Parameters
    ----------
    source : path or mapping
        A YAML file, whose folder relative paths count from, or the same as a mapping, whose
        relative paths count from the current folder.
    overrides : sequence of "key.sub=value"
        Values are YAML: ``grid.tile=1024``, ``periods=[2023]``.

    Raises
    ------
    RecipeError
        When the file is not there, is no YAML, or a key is unknown or wrong: one line with
        the place, what was found, and the nearest known key.
    """
    if isinstance(source, Mapping):
        content, base, name = deepcopy(dict(source)), Path.cwd(), "recipe"
    else:
        content, base, name = _read_yaml(Path(source)), Path(source).absolute().parent, str(source)
    for override in overrides:
        _override(content, override)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{name}: {_one_line(error)}") from None
    return _absolute(recipe, base)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RecipeError(
            f"{path} holds {type(content).__name__}; expected keys like 'name', 'grid'"
        )
    return content


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: expected key.sub=value, e.g. grid.tile=1024")
    *parents, last = key.split(".")
    node = content
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(f"--set {override!r}: {parent!r} is not a group of keys")
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"--set {override!r}: the value is not valid YAML") from None


def _one_line(error: ValidationError) -> str:
    """The first mistake with its place; how many more there are."""
    errors = error.errors(include_url=False)
    # An unknown key tells more than the "missing" it causes.
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        message = f"{place}: unknown key{nearest(str(first['loc'][-1]), _keys(first['loc'][:-1]))}"
    elif first["type"] == "missing":
        message = f"{place}: missing"
    elif first["type"] == "value_error":
        message = f"{place}: {first['ctx']['error']}"
    else:
        found = first["input"]
        message = f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}, found {found!r}"
        expected = first.get("ctx", {}).get("expected")
        if expected and isinstance(found, str):
            message += nearest(
                found, [e.strip("' ") for e in expected.replace(" or ", ",").split(",")]
            )
    rest = len(errors) - 1
    return message + (f" (and {rest} more)" if rest else "")


def _keys(place: tuple[int | str, ...]) -> list[str]:
    """Known keys of the group of a recipe that a place points to."""
    model: Any = Recipe
    for part in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            names = {f.alias or n: f.annotation for n, f in model.model_fields.items()}
            # The name of an entry of a mapping, as in inputs.s2, is no field: same group.
            model = _group(names[str(part)]) if str(part) in names else model
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [f.alias or n for n, f in model.model_fields.items()]


def _group(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as ``dict[str, InputRecipe]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _group(argument)
        if found is not None:
            return found
    return None


def _absolute(recipe: Recipe, base: Path) -> Recipe:
    """All local paths of a recipe, counted from its folder."""

    def resolve(path: str) -> str:
        return path if "://" in path else os.path.normpath(base / Path(path).expanduser())

    inputs = {
        name: one.model_copy(update={"catalog": resolve(one.catalog)})
        for name, one in recipe.inputs.items()
    }
    model = recipe.model
    update: dict[str, Any] = {
        "inputs": inputs,
        "area": resolve(recipe.area) if recipe.area else None,
        "model": resolve(model)
        if isinstance(model, str)
        else {period: resolve(path) for period, path in model.items()},
    }
    if recipe.train:
        labels = resolve(recipe.train.labels)
        update["train"] = recipe.train.model_copy(update={"labels": labels})
    return recipe.model_copy(update=update)


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
