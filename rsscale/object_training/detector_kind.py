"""Which architectures are detectors, and what objects they return."""

from __future__ import annotations

from rsscale.detectors.detectors import ORIENTED, OUTLINED
from rsscale.errors import RecipeError, nearest
from rsscale.learn.architectures import ARCHITECTURES, registered
from rsscale.model.outputs import ObjectKind, ObjectOutput
from rsscale.runtimes.factory import is_address


def finds_objects(architecture: str, kind: str | None = None) -> bool:
    """Whether an architecture is a detector; of one that a function makes, ``kind`` says it."""
    if is_address(architecture):
        return kind is not None
    return architecture in ARCHITECTURES and registered(architecture).finds_objects


def object_output(architecture: str, kind: ObjectKind | None = None) -> ObjectOutput:
    """What a detector that is trained returns.

    Parameters
    ----------
    architecture : str
    kind : str, optional
        Of one that a function makes.

    Raises
    ------
    RecipeError
        When it is no detector.
    """
    if is_address(architecture):
        return ObjectOutput(kind or "boxes")
    if not finds_objects(architecture):
        known = sorted(name for name, made in ARCHITECTURES.items() if made.finds_objects)
        raise RecipeError(
            f"architecture {architecture!r} is no detector; expected one of {', '.join(known)}, or "
            f"module:function{nearest(architecture, known)}"
        )
    if architecture in ORIENTED:
        return ObjectOutput("oriented")
    return ObjectOutput("outlines" if architecture in OUTLINED else "boxes")
