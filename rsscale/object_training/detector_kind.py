"""Which architectures are detectors, and what objects they return."""

from __future__ import annotations

from rsscale.detectors.detectors import DETECTORS, ORIENTED, OUTLINED
from rsscale.errors import RecipeError, nearest
from rsscale.learn.architectures import ARCHITECTURES, registered
from rsscale.model.outputs import ObjectKind, ObjectOutput
from rsscale.runtimes.factory import is_address

_KINDS: dict[str, ObjectKind] = {
    **dict.fromkeys(OUTLINED, "outlines"),
    **dict.fromkeys(ORIENTED, "oriented"),
}


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
        Of one that a function makes; of others what they return, if anything.

    Raises
    ------
    RecipeError
        When it is no detector, or finds something else.
    """
    if is_address(architecture):
        return ObjectOutput(kind or "boxes")
    if not finds_objects(architecture):
        known = sorted(name for name, made in ARCHITECTURES.items() if made.finds_objects)
        raise RecipeError(
            f"architecture {architecture!r} is no detector; expected one of {', '.join(known)}, or "
            f"module:function{nearest(architecture, known)}"
        )
    returned = _KINDS.get(architecture, "boxes")
    if kind not in (None, returned):
        others = [name for name in DETECTORS if _KINDS.get(name, "boxes") == kind]
        raise RecipeError(
            f"objects are {kind!r}, and architecture {architecture!r} finds {returned}; expected "
            f"{' or '.join(others)}, or leave 'objects' out"
        )
    return ObjectOutput(returned)
