"""The section ``train`` of a recipe: labels, split, network and loop."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, field_validator, model_validator

from rsscale.recipe.fields import InputName, Name, Strict, Year, as_value_error
from rsscale.reference.grid_labels import THIN_BLOCK
from rsscale.reference.label_rules import LabelRules, Overlap

# A class as labels have it: by name or value.
ClassName = StrictInt | Name


class ClassRecipe(Strict):
    """A class of the map."""

    value: int = Field(ge=0, le=254)
    name: str
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


class SplitRecipe(Strict):
    """Validation and test by spatial blocks, or cross-validation."""

    by: Literal["block", "polygon"] = "block"  # what is never parted
    blocks: float = Field(default=5000.0, gt=0, le=1e8)  # metres
    validation: float = Field(default=0.2, ge=0, lt=1)  # chooses the weights
    test: float = Field(default=0.2, ge=0, lt=1)  # measures and calibrates
    folds: int = Field(default=0, ge=0, le=1000)  # in place of the test


class TrainChangeRecipe(Strict):
    """Labels of change: the input that is read at two years, and which years a label is true for.

    The years are given, or two columns of the labels hold them.
    """

    of: InputName | None = None  # the recipe's one input when left out
    from_: Year | None = Field(default=None, alias="from")
    to: Year | None = None
    columns: tuple[Name, Name] | None = None  # of the years from and to

    @model_validator(mode="after")
    def _two_years(self) -> Self:
        years = (self.from_, self.to)
        if (self.columns is None) == (years == (None, None)) or (None in years and any(years)):
            raise ValueError(
                "needs the years 'from' and 'to', or 'columns: [from, to]' of the labels that hold "
                "them"
            )
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError(
                f"is from {self.from_} to {self.to}; a change is from a year to a later one"
            )
        return self


class TrainRecipe(Strict):
    """Options of ``rsscale train``."""

    labels: str
    labels_layer: str | None = None
    labels_crs: str | None = None  # of a table's coordinates
    coordinates: tuple[str, str] | None = None  # columns of a table
    class_: str | None = Field(default=None, alias="class")  # a raster needs none
    classes: tuple[ClassRecipe, ...] | None = None
    merge: dict[Name, Annotated[tuple[ClassName, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    ignore: tuple[ClassName, ...] = ()
    periods: tuple[Year, ...] | None = None
    period_column: str | None = None
    change: TrainChangeRecipe | None = None  # labels of change between two periods
    all_touched: bool = False
    edge: float = Field(default=0.0, ge=0, le=1e5)  # metres
    priority: tuple[str, ...] = ()
    overlap: Overlap = "drop"
    most_pixels: int | None = Field(default=None, ge=1, le=THIN_BLOCK**2)
    split: SplitRecipe = SplitRecipe()
    architecture: str = "unet"
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    stride: int = Field(default=512, ge=1, le=8192)
    halo: int = Field(default=32, ge=0, le=8192)
    blend: Literal["trim", "hann"] = "trim"
    observations: int = Field(default=32, ge=1, le=1000)  # of a series, at most, in a window
    chip: int = Field(default=256, ge=32, le=8192)
    # Of images 350 steps of 8 crops, of single pixels 1500 of 256, when left out.
    steps: int | None = Field(default=None, ge=1, le=10**9)
    batch: int | None = Field(default=None, ge=1, le=65536)
    balance: Literal["sampling", "weights", "none"] | None = None
    patience: int = Field(default=0, ge=0, le=10**9)  # validations without a better one; 0: never
    learning_rate: float = Field(default=3e-3, gt=0, le=1e6)
    seed: int = 0
    members: int = Field(default=1, ge=1, le=100)  # networks from other seeds, averaged
    applicability: bool = False  # the layers dissimilarity and applicable
    license: str | None = Field(default=None, pattern=r"^[\w.+-]+$", max_length=100)  # SPDX
    conformal: float = Field(default=0.9, gt=0, lt=1)  # level of sets of classes

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
                    f"two classes have the {field} {twice!r}; to merge classes, list those of the "
                    "labels in train.merge: a class has one value and one name"
                )
        return value

    @model_validator(mode="after")
    def _one_way_to_say_when(self) -> Self:
        if self.change and (self.periods is not None or self.period_column is not None):
            key = "periods" if self.periods is not None else "period_column"
            raise ValueError(f"{key!r} is for labels of one year; 'change' says between which")
        return self

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        with as_value_error():
            self.rules()
        return self

    def rules(self) -> LabelRules:
        """How labels become pixels."""
        return LabelRules(
            merge=self.merge,
            ignore=self.ignore,
            all_touched=self.all_touched,
            edge=self.edge,
            priority=self.priority,
            overlap=self.overlap,
            most_pixels=self.most_pixels,
        )

    def label_options(self) -> dict[str, Any]:
        """How to read the labels: arguments of :func:`~rsscale.reference.labels.read_labels`."""
        return {
            "period_column": self.change.columns if self.change else self.period_column,
            "layer": self.labels_layer,
            "coordinates": self.coordinates,
            "crs": self.labels_crs,
            "rules": self.rules(),
        }
