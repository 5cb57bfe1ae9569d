"""Check a training before anything is read for it: network, windows, memory of its chips."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build, complete, registered, small_size
from rsscale.learn.chips import InputBands
from rsscale.learn.weights import check_windows
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.network.receptive_field import Reach, halo_advice, reach_of

_log = logging.getLogger("rsscale")

# Chips as they are read, and once more where they are put together or a part is taken of them.
_COPIES = 2


def check_network(
    architecture: str,
    hyperparameters: Mapping[str, Any],
    inputs: Sequence[InputBands],
    classes: Sequence[LandClass],
    lattice: Lattice,
) -> None:
    """Build a network and try it on a window, before imagery is read; say if its halo is too small.

    Raises
    ------
    ModelError
        When the architecture or a hyperparameter is not known, the network can't take the windows,
        or there are fewer than two classes.
    """
    known = registered(architecture)
    hyperparameters = complete(architecture, hyperparameters)
    spec = ModelSpec(
        name=architecture,
        inputs=tuple(
            ModelInput(
                one.name, one.bands, one.times, (0.0,) * n, (1.0,) * n, one.series, known.takes
            )
            for one in inputs
            for n in [len(one.bands)]
        ),
        classes=tuple(classes),
        lattice=lattice,
        architecture=architecture,
        hyperparameters=hyperparameters,
        layout=known.layout,
    )
    what = f"architecture {architecture!r}"
    module = build(architecture, spec.inputs, len(classes), **hyperparameters).eval()
    check_windows(module, spec, small_size(lattice.window), what)
    reach = reach_of(architecture, hyperparameters)
    advice = None if reach is None else halo_advice(what, lattice, Reach(reach))
    if advice:
        _log.warning("%s in the recipe's train section", advice)


def check_memory(chips: int, channels: int, width: int, *, available: int | None = None) -> int:
    """Refuse chips that this machine can't hold, before they are read; returns their bytes.

    Parameters
    ----------
    chips : int
    channels : int
    width : int
        Of a chip with its context, px.
    available : int, optional
        Bytes; what the machine has left when omitted.

    Raises
    ------
    RecipeError
        Which says what would fit.
    """
    each = width**2 * (4 * channels + 1)
    if available is None:
        available = psutil.virtual_memory().available
    needed = _COPIES * chips * each
    if needed > available:
        raise RecipeError(
            f"training reads {chips} chips of {width} x {width} px and {channels} channels, which "
            f"take {needed / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} GiB are free; "
            "set train.chip to 32 where labels are points or small, or use fewer labels: about "
            f"{available // (_COPIES * each)} such chips fit"
        )
    return needed
