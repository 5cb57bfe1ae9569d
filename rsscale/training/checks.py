"""Check a training before anything is read for it, and chips before anything is learnt."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsscale.errors import RecipeError
from rsscale.layers import NODATA
from rsscale.learn.architectures import build, registered, small_size
from rsscale.learn.weights import check_windows
from rsscale.learners.base import Design, Task
from rsscale.learners.chips import MULTIPLE, Chips, InputBands
from rsscale.learners.network import contract
from rsscale.legend.classes import LandClass
from rsscale.network.receptive_field import Reach, halo_advice, reach_of

_log = logging.getLogger("rsscale")


def check_network(design: Design, inputs: Sequence[InputBands], task: Task) -> None:
    """Build a network and try it on a window, before imagery is read; say if its halo is too small.

    Raises
    ------
    ModelError
        When the architecture or a hyperparameter is not known, the network can't take the windows,
        or there are fewer than two classes.
    """
    takes = registered(design.architecture).takes
    spec = contract(design, [i.unscaled(takes) for i in inputs], task)
    subject = f"architecture {spec.architecture!r}"
    made = build(spec.architecture, spec.inputs, spec.output_channels, **spec.hyperparameters)
    check_windows(made.eval(), spec, small_size(spec.lattice.window), subject)
    reach = reach_of(spec.architecture, spec.hyperparameters)
    advice = None if reach is None else halo_advice(subject, spec.lattice, Reach(reach))
    if advice:
        _log.warning("%s in the recipe's train section", advice)


def check_disk(
    chips: int, shape: Sequence[int], folder: Path, *, available: int | None = None
) -> int:
    """Refuse chips that a disk has no room for, before they are read; returns their bytes.

    Parameters
    ----------
    chips : int
        Those that are to be read.
    shape : sequence of int
        Of all images, ``(N, C, H, W)``.
    folder : Path
        Where they are kept.
    available : int, optional
        Bytes; what the disk has left when omitted.

    Raises
    ------
    RecipeError
        Which says what would fit.
    """
    _, channels, height, width = shape
    each = height * width * (4 * channels + 1)
    if available is None:
        available = shutil.disk_usage(folder).free
    needed = chips * each
    if needed > available:
        raise RecipeError(
            f"training reads {chips} chips of {height} x {width} px and {channels} channels, which "
            f"take {needed / 2**30:.1f} GiB in {folder}, and {available / 2**30:.1f} GiB are free "
            "there; free some space, give --out on a larger disk, set train.chip to 32 where "
            f"labels are points or small, or use fewer labels: about {available // each} such "
            "chips fit"
        )
    return needed


def check_chips(chips: Chips, inputs: Sequence[InputBands], classes: Sequence[LandClass]) -> None:
    """Refuse chips that do not fit the inputs or classes, or that nothing can be learnt from."""
    channels = sum(input_bands.channels for input_bands in inputs)
    if chips.images.shape[1] != channels:
        raise RecipeError(
            f"the chips have {chips.images.shape[1]} channels, the inputs' bands and time windows "
            f"make {channels}"
        )
    if min(chips.images.shape[-2:]) < MULTIPLE:
        raise RecipeError(
            f"the chips are {chips.images.shape[-2:]} px; at least {MULTIPLE} are needed each way"
        )
    if not chips.is_seen and not (chips.labels != NODATA).any():
        raise RecipeError("there is no labelled pixel; check the labels' period and place")
    if not (chips.seen.labels != NODATA).any():
        raise RecipeError(
            "all imagery under the labels is missing; check the dates, the mask and the area"
        )
    known = [c.value for c in classes]
    values = {value for label in chips.labels for value in np.unique(label).tolist()}
    others = sorted(values - {NODATA, *known})
    if others:
        raise RecipeError(f"the labels hold the class value {others[0]}; the classes are {known}")


def check_classes(chips: Chips, classes: Sequence[LandClass]) -> None:
    """Refuse classes that no pixel is labelled with; what was left out is the likely reason."""
    for land_class in classes:
        if not (chips.labels == land_class.value).any():
            reasons = [line for line in chips.left_out if repr(land_class.name) in line]
            why = f" ({'; '.join(reasons)})" if reasons else ""
            raise RecipeError(
                f"class {land_class.name!r} has no labelled pixel to train on{why}; add labels for "
                "it, or leave it out of the classes"
            )
