"""A model that has learnt nothing, in place of one that is not trained yet: to plan with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rsscale.classical.point_estimator import is_estimator
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import registered
from rsscale.learn.models import Model, save_model
from rsscale.learners.base import Design, Task
from rsscale.learners.chips import InputBands
from rsscale.learners.network import contract, first_network
from rsscale.legend.classes import LandClass
from rsscale.recipe import Recipe

if TYPE_CHECKING:
    from rsscale.model.spec import ModelSpec

_CLASSES = (LandClass(1, "one", "#4a90c2"), LandClass(2, "another", "#d9954a"))


def save_untrained(
    folder: Path, recipe: Recipe, inputs: Sequence[InputBands], design: Design | None, task: Task
) -> tuple[ModelSpec, str]:
    """Save a network with its first weights, and say what of it a trained model may not share.

    Parameters
    ----------
    folder : Path
    recipe : Recipe
    inputs : sequence of InputBands
    design : Design, optional
        What training is to make. Without one, and of what is no network, such as trees, it is a
        network of single pixels, with as many inputs and classes.
    task : Task
        Without classes it has two.
    """
    description = "an untrained model of the same windows"
    if design is None or is_estimator(design.architecture):
        lattice = Lattice(256, 0) if design is None else replace(design.lattice, halo=0)
        named = "" if design is None else f", and not {design.architecture}"
        series = any(part.series for part in inputs)
        design = Design(recipe.name, "tempcnn" if series else "pixel", lattice=lattice)
        description = (
            f"a network of single pixels{named}, whose windows, memory and time may be others"
        )
    known = registered(design.architecture)
    if not task.names:
        task = Task(classes=_CLASSES)
    spec = contract(design, [part.unscaled(known.takes) for part in inputs], task)
    # Whether it is calibrated is told of the trained one: here nobody is to be warned.
    said: dict[str, Any] = {"rsscale:training": {"calibration": "not trained yet"}}
    save_model(Model(spec, first_network(spec, 0), torch.device("cpu")), folder, **said)
    return spec, description
