"""The section ``train`` of a recipe: labels, split, network and loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from rsscale.recipe.fields import Strict, Year


class ClassRecipe(Strict):
    """A class of the map."""

    value: int = Field(ge=0, le=254)
    name: str
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


class SplitRecipe(Strict):
    """Validation and test by spatial blocks, or cross-validation."""

    blocks: float = Field(default=5000.0, gt=0, le=1e8)  # metres
    validation: float = Field(default=0.2, ge=0, lt=1)  # chooses the weights
    test: float = Field(default=0.2, ge=0, lt=1)  # measures and calibrates
    folds: int = Field(default=0, ge=0, le=1000)  # in place of the test


class TrainRecipe(Strict):
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
    observations: int = Field(default=32, ge=1, le=1000)  # of a series, at most, in a window
    chip: int = Field(default=256, ge=32, le=8192)
    # Of images 350 steps of 8 crops, of single pixels 1500 of 256, when left out.
    steps: int | None = Field(default=None, ge=1, le=10**9)
    batch: int | None = Field(default=None, ge=1, le=65536)
    balance: Literal["sampling", "weights", "none"] | None = None
    patience: int = Field(default=0, ge=0, le=10**9)  # validations without a better one; 0: never
    learning_rate: float = Field(default=3e-3, gt=0, le=1e6)
    seed: int = 0
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
                    f"two classes have the {field} {twice!r}; to merge classes, give their "
                    "features one name in the labels: a class has one value and one name"
                )
        return value
