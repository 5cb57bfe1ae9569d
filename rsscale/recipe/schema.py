"""The keys of a recipe, each checked by itself and with the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from rsscale.cluster.request import parse_request
from rsscale.decorators.first_argument import made_by
from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import MAX_RESOLUTION, MAX_TILE, Grid
from rsscale.layers import AFTER, BEFORE
from rsscale.recipe.fields import Coordinate, InputName, Name, Strict, Year, as_value_error
from rsscale.recipe.gates_recipe import GatesRecipe
from rsscale.recipe.input_recipe import ACCESS, InputRecipe
from rsscale.recipe.recipe_html import recipe_html
from rsscale.recipe.steps import StepRecipe, check_steps, in_order
from rsscale.recipe.train_recipe import TrainRecipe
from rsscale.text.redaction import strip_addresses


class GridRecipe(Strict):
    """The global pixel grid; see :class:`rsscale.Grid`."""

    crs: str
    """A projected CRS in metres, such as EPSG:32632; best the zone that most of the imagery has."""
    resolution: float = Field(gt=0, le=MAX_RESOLUTION)
    """Width of a pixel, metres."""
    tile: int = Field(default=2048, ge=1, le=MAX_TILE)
    """Width of a tile, pixels: one task and one Zarr shard each. The borders of tiles are decoded
    twice: 2.25 times all blocks at 2048, 1.27 times at 8192."""
    origin: tuple[Coordinate, Coordinate] = (0.0, 0.0)
    """Where the lattice of pixels begins, metres: `[15, 15]` for Landsat, whose pixels start at
    half a pixel."""

    def build(self) -> Grid:
        """The grid."""
        return Grid(self.crs, self.resolution, self.tile, self.origin)


class OutputRecipe(Strict):
    """Which layers are written."""

    layers: tuple[Name, ...] | None = None
    """Layers of the map that are written: those of the model's output (`classification`,
    `confidence`, `probability`, …) and `observations`. The usual ones when left out."""


class ChangeRecipe(Strict):
    """Change between two of the periods, in the short form; see docs/change.md."""

    from_: Year = Field(alias="from")
    """The earlier year, one of `periods`."""
    to: Year
    """The later year, one of `periods`."""
    method: Literal["post-classification", "temporal-model"] = "post-classification"
    """How change is told: by comparing the two maps, or by a temporal model of all periods."""


@made_by("rs.read_recipe(path)")
class Recipe(Strict):
    """A whole recipe; see ``recipes/landcover.yaml`` for every key with comments."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$", max_length=200)
    """Names the run; letters, digits, dots, dashes."""
    area: str | None = None
    """The area to map: a vector file with polygons in any CRS. Either this or `bbox`."""
    area_layer: str | None = None
    """The layer of `area`, where the file has several."""
    bbox: tuple[float, float, float, float] | None = None
    """The area as a box in degrees: `[west, south, east, north]`."""
    grid: GridRecipe
    """The global pixel grid. Tiles and model windows are counted from the CRS's origin, never from
    the area."""
    periods: tuple[Year, ...] = Field(min_length=1, max_length=1000)
    """Years; one map each, in order."""
    inputs: dict[InputName, InputRecipe] = Field(default_factory=dict)
    """Where the imagery comes from. Each input has a name, which the model knows it by."""
    model: str | dict[Year, str] | None = None
    """Folder of the model (STAC MLM `item.json`, weights), or one a period: `{2023: models/a, 2024:
    models/b}`. `rsscale train` writes it."""
    train: TrainRecipe | None = None
    """What `rsscale train` does."""
    output: OutputRecipe = OutputRecipe()
    """What is written of the map."""
    change: ChangeRecipe | None = None
    """Change between two periods, in the short form; more kinds of change are `steps`."""
    gates: GatesRecipe = GatesRecipe()
    """What a map must pass before it is published. Thresholds decide no pixel, and may be changed
    at any time."""
    steps: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=100)], StepRecipe
    ] = Field(default_factory=dict)
    """Further steps by name, each computed tile by tile after those that it reads."""
    trust: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")], ...] = ()
    """Digests of models that are programs and may run, as `--trust` records them."""
    cluster: str | dict[str, Any] | None = Field(default=None, exclude=True)
    """Where it is computed, unless a command says: `local:2`, or keys such as `kind: slurm`; see
    docs/clusters.md. No part of what is made, and not kept in a run folder."""
    folder: Path = Field(default=Path(), exclude=True)
    """Folder that relative paths of steps count from; rsscale writes it into the recipe of a run.
    """

    @field_validator("cluster")
    @classmethod
    def _known_cluster(cls, value: Any) -> Any:
        if value is not None:
            with as_value_error():
                parse_request(value)
        return value

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
        if self.train and self.train.change:
            _check_compared(self.train.change.of, self.inputs)
        check_steps(self.steps, self._short_form(), list(self.inputs))
        return self

    def of_two_dates(self, name: str | None) -> Recipe:
        """The recipe with two inputs ``before`` and ``after``, both as an input of it is."""
        imagery = self.inputs[name if name is not None else next(iter(self.inputs))]
        return self.model_copy(update={"inputs": dict.fromkeys((BEFORE, AFTER), imagery)})

    def _repr_html_(self) -> str:
        return recipe_html(self)

    @property
    def all_steps(self) -> dict[str, StepRecipe]:
        """Every step, those of the short form too, each after the ones that it reads."""
        return in_order(self._short_form() | self.steps, self.inputs)

    def _short_form(self) -> dict[str, StepRecipe]:
        """The steps that ``model``, ``output`` and ``change`` stand for."""
        steps: dict[str, StepRecipe] = {}
        options: dict[str, Any]
        if self.model is not None:
            options = {"model": self.model}
            if self.output.layers is not None:
                options["layers"] = list(self.output.layers)
            steps["map"] = StepRecipe(kind="predict", **options)
        if self.change is not None:
            options = {"from": self.change.from_, "to": self.change.to}
            if self.change.method == "temporal-model":
                options["years"] = False  # a step of its own has the maps of each year
            steps["change"] = StepRecipe(kind=self.change.method, of="map", **options)
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
        """The recipe, with another one's keys of access for the same inputs, and its gates."""
        inputs = {
            name: imagery.model_copy(
                update={key: getattr(other.inputs[name], key) for key in ACCESS}
                if name in other.inputs
                else {}
            )
            for name, imagery in self.inputs.items()
        }
        return self.model_copy(update={"inputs": inputs, "gates": other.gates})

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


def _check_compared(name: str | None, inputs: Mapping[str, InputRecipe]) -> None:
    """Refuse an input that can't be read at two years."""
    known = list(inputs)
    if name is None and len(known) != 1:
        raise ValueError(f"train.change needs 'of': which of the inputs {known} is compared")
    if name is not None and name not in inputs:
        raise ValueError(f"train.change is of {name!r}; there are {known}{nearest(name, known)}")
    compared = name if name is not None else known[0]
    if inputs[compared].static:
        raise ValueError(f"train.change is of {compared!r}, which is static and has no two dates")
