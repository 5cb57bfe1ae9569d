"""The section ``train`` of a recipe: labels, split, network and loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, field_validator, model_validator

from rsscale.errors import RecipeError
from rsscale.recipe.fields import InputName, Name, Strict, Year, as_value_error
from rsscale.reference.grid_labels import THIN_BLOCK
from rsscale.reference.label_rules import LabelRules, Overlap

# A class as labels have it: by name or value.
ClassName = StrictInt | Name


class ClassRecipe(Strict):
    """A class of the map."""

    value: int = Field(ge=0, le=254)
    """What the map holds."""
    name: str
    """What it means."""
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")
    """Its colour, such as `"#1b7837"`."""


class SplitRecipe(Strict):
    """Validation and test by spatial blocks, or cross-validation."""

    by: Literal["block", "polygon"] = "block"
    """What is never parted: whole squares of the ground, or each polygon of the labels."""
    blocks: float = Field(default=5000.0, gt=0, le=1e8)
    """Width of a square, metres on the ground."""
    validation: float = Field(default=0.2, ge=0, lt=1)
    """Share of the labelled pixels, in whole places, that chooses the weights."""
    test: float = Field(default=0.2, ge=0, lt=1)
    """Share that nothing is chosen by: it measures and calibrates."""
    folds: int = Field(default=0, ge=0, le=1000)
    """In place of the test: so many more models, each tested on places that it never saw."""


class TrainChangeRecipe(Strict):
    """Labels of change: the input that is read at two years, and which years a label is true for.

    The years are given, or two columns of the labels hold them.
    """

    of: InputName | None = None
    """The input that is read at two years; the recipe's only one when left out."""
    from_: Year | None = Field(default=None, alias="from")
    """The earlier year that the labels are true for."""
    to: Year | None = None
    """The later year."""
    columns: tuple[Name, Name] | None = None
    """Columns of the labels that hold both years, in place of `from` and `to`."""

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
    """Polygons or points, a table (CSV, Parquet) of points, or a raster of classes; of detectors
    boxes or polygons, or a table of boxes."""
    labels_layer: str | None = None
    """The layer of the file, where it has several."""
    labels_crs: str | None = None
    """CRS of a table's coordinates; lon and lat are EPSG:4326."""
    coordinates: tuple[str, str] | None = None
    """Columns of a table's coordinates; else lon and lat, or x and y."""
    class_: str | None = Field(default=None, alias="class")
    """The column of the class; a raster needs none."""
    classes: tuple[ClassRecipe, ...] | None = None
    """Values, names and colours of the map. Left out: codes of the labels are the values, names are
    numbered from 1."""
    merge: dict[Name, Annotated[tuple[ClassName, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Names or values of the labels that are one class: `{forest: [broadleaf, conifer]}`."""
    ignore: tuple[ClassName, ...] = ()
    """Names or values of the labels that are no class."""
    periods: tuple[Year, ...] | None = None
    """Years of the maps that the labels fit; all when left out."""
    period_column: str | None = None
    """The column of the year that a label is true for."""
    change: TrainChangeRecipe | None = None
    """Labels of change between two years, for networks that see both."""
    all_touched: bool = False
    """Label every pixel that a polygon touches, not only those whose centre it holds."""
    edge: float = Field(default=0.0, ge=0, le=1e5)
    """Metres on the ground from polygons' edges that stay without labels."""
    priority: tuple[str, ...] = ()
    """Classes that win where labels overlap, the first over all others."""
    overlap: Overlap = "drop"
    """Where labels of several classes overlap: no label (`drop`), or the class that covers most of
    the pixel (`majority`)."""
    most_pixels: int | None = Field(default=None, ge=1, le=THIN_BLOCK**2)
    """Pixels of a class in a block of 512 px width at most, drawn by their place; all when left
    out."""
    split: SplitRecipe = SplitRecipe()
    """What is kept back to choose, to measure and to calibrate."""
    architecture: str = "unet"
    """What kind of model: unet, tempcnn, ltae, utae, fusion, pixel, random_forest,
    gradient_boosting, nearest_neighbours, fc-ef, fc-siam-conc, fc-siam-diff, the detectors
    fasterrcnn, retinanet, fcos, fcos-oriented and maskrcnn, `smp:Class`, or `module:function` that
    `RSSCALE_ARCHITECTURES` allows."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the architecture, such as `{width: 16, depth: 3}`."""
    stride: int = Field(default=512, ge=1, le=8192)
    """Pixels that a window of the model keeps."""
    halo: int = Field(default=32, ge=0, le=8192)
    """Pixels of context around them; training says if the network looks further."""
    blend: Literal["trim", "hann"] = "trim"
    """How windows join: `trim` cuts the halo off, `hann` tapers over it, for models that are not
    local."""
    observations: int = Field(default=32, ge=1, le=1000)
    """Of a series: how many observations a window has at most."""
    chip: int = Field(default=256, ge=32, le=8192)
    """Width of the blocks that are read around labels, pixels."""
    steps: int | None = Field(default=None, ge=1, le=10**9)
    """Steps of the optimiser: 350 of crops, 1,500 of single pixels, 1,000 of detectors when left
    out."""
    batch: int | None = Field(default=None, ge=1, le=65536)
    """Samples of a step: 8 crops, 256 single pixels, or 4 crops of detectors when left out."""
    crop: int | None = Field(default=None, ge=32, le=8192)
    """Width of the crops that networks of images learn from, pixels: 96, a multiple of 32, or 256
    of detectors when left out. Small ones, and more of them in a step, show more places."""
    balance: Literal["sampling", "weights", "none"] | None = None
    """Rare classes are drawn more often (`sampling`, of crops), or their errors count more
    (`weights`, of pixels)."""
    patience: int = Field(default=0, ge=0, le=10**9)
    """Validations without a better one that end the training; 0 for never."""
    learning_rate: float | None = Field(default=None, gt=0, le=1e6)
    """Peak of the one-cycle learning rate; 0.003, of detectors 0.001 when left out."""
    seed: int = 0
    """Decides the first weights, the split and the samples of each batch."""
    members: int = Field(default=1, ge=1, le=100)
    """Networks from other seeds, whose probabilities are averaged."""
    applicability: bool = False
    """Also write the layers `dissimilarity` and `applicable`: where the imagery is unlike all
    training pixels."""
    license: str | None = Field(default=None, pattern=r"^[\w.+-]+$", max_length=100)
    """Licence of the model, an SPDX identifier such as CC-BY-4.0."""
    conformal: float = Field(default=0.9, gt=0, lt=1)
    """Level of the sets of classes in the layers `set_size` and `class_set`."""
    objects: Literal["boxes", "outlines", "oriented"] | None = None
    """What a detector of `module:function` returns; those known by name need none."""
    within: str | None = None
    """Of detectors: polygons in which every object is labelled; the chips that hold one when left
    out."""
    visible: float = Field(default=0.5, gt=0, le=1)
    """Of detectors: share of an object's area from which on a crop that cuts it keeps it."""
    zoom: float = Field(default=1.0, ge=1, le=8)
    """Of detectors: crops are enlarged by up to so much, for objects that are larger on the map
    than those with labels; 1 for not."""

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

    def refuse(self, keys: Sequence[str], why: str) -> None:
        """Refuse keys that are given and mean nothing here.

        Raises
        ------
        RecipeError
        """
        given = {field: TrainRecipe.model_fields[field].alias or field for field in keys}
        said = [f for f in self.model_fields_set if getattr(self, f) is not None]
        wrong = [name for field, name in given.items() if field in said]
        if wrong:
            raise RecipeError(f"train.{wrong[0]} {why}; leave it out")

    def label_options(self) -> dict[str, Any]:
        """How to read the labels: arguments of :func:`~rsscale.reference.labels.read_labels`."""
        return {
            "period_column": self.change.columns if self.change else self.period_column,
            "layer": self.labels_layer,
            "coordinates": self.coordinates,
            "crs": self.labels_crs,
            "rules": self.rules(),
        }
