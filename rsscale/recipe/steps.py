"""Steps of a recipe: which there are, what each reads, and in what order they are computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from rsscale.errors import RecipeError, nearest

# The store of the step ``map`` is called so.
_RESERVED = ("product",)


class RunReference(BaseModel):
    """A step of another, finished run."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    run: str
    """A finished run on the same grid: its folder, or an address such as s3://…."""
    step: str = "map"
    """The step of it that is read."""


Reference = str | RunReference
"""A step of the same recipe by its name, an input by its name, or a step of another run."""


class StepRecipe(BaseModel):
    """One step: its kind, what it reads, and the options of its kind."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    kind: str
    """The kind of step, or `module:Class` of a pass of yours that `RSSCALE_PASSES` allows."""
    of: RunReference | str | dict[str, RunReference | str] | None = None
    """What it reads: a step or an input by name, `{run: FOLDER, step: NAME}` of another run, or
    several by what they are called."""

    @field_validator("of", mode="before")
    @classmethod
    def _another_run(cls, value: Any) -> Any:
        """``{run: …}`` is a step of another run; other mappings name several things to read."""
        if isinstance(value, dict) and "run" in value and set(value) <= {"run", "step"}:
            return RunReference.model_validate(value)
        if value is not None and not isinstance(value, str | dict | RunReference):
            raise ValueError(
                f"is {value!r}; expected the name of a step or an input, such as map, {{run: "
                "FOLDER}, or several by what they are called: {before: map, after: other}"
            )
        return value

    @property
    def options(self) -> dict[str, Any]:
        """All keys but ``kind`` and ``of``."""
        return dict(self.model_extra or {})

    @property
    def references(self) -> dict[str, Reference]:
        """Its sources, by the names of its function's arguments."""
        if self.of is None:
            return {}
        if isinstance(self.of, dict):
            return dict(self.of)
        return {self.of if isinstance(self.of, str) else self.of.step: self.of}

    def only_reference(self, wanted: str) -> Reference:
        """Its one source.

        Parameters
        ----------
        wanted : str
            What that is, for the message: ``"step whose classes are counted"``.

        Raises
        ------
        RecipeError
            When it has none, or several.
        """
        if len(self.references) != 1:
            raise RecipeError(f"needs 'of': the one {wanted}")
        (reference,) = self.references.values()
        return reference

    def within(self, names: Iterable[str], inputs: Collection[str] = ()) -> list[str]:
        """Those of some names that it refers to, or to a part of, such as ``change-years``.

        What is an input is no part of a step, though its name may begin with that of one.
        """
        known = set(names)
        references = (r for r in self.references.values() if isinstance(r, str))
        owners = (owner(r, known) for r in references if r not in inputs)
        return [name for name in owners if name is not None]


def owner(reference: str, names: Iterable[str]) -> str | None:
    """The step of some names that a reference is, or is a part of; None where there is none.

    A step of a recipe may be several: ``change`` and ``change-years``, which is a part of it. Which
    parts there are is known when it is opened.
    """
    owners = [n for n in names if reference == n or reference.startswith(f"{n}-")]
    return max(owners, key=len, default=None)


def check_steps(
    steps: Mapping[str, StepRecipe], short_form: Mapping[str, StepRecipe], inputs: list[str]
) -> None:
    """Refuse unknown references, circles and repeated names among steps.

    Raises
    ------
    ValueError
        Which pydantic reports with the recipe's name.
    """
    every = {**short_form, **steps}
    if not every:
        raise ValueError("needs 'model' (a map), or 'steps'")
    twice = [name for name in steps if name in short_form]
    if twice:
        key = "model" if twice[0] == "map" else "change"
        raise ValueError(
            f"two steps are called {twice[0]!r}: one of 'steps', and what the key {key!r} stands "
            "for; give one of them another name"
        )
    for name, step in every.items():
        if name in inputs or name in _RESERVED:
            raise ValueError(f"steps.{name}: an input or a store has this name; choose another")
        others = [other for other in (*every, *inputs) if other != name]
        for reference in step.references.values():
            if not isinstance(reference, str) or reference in inputs:
                continue
            if owner(reference, every) is None:
                raise ValueError(
                    f"steps.{name}: 'of' names {reference!r}, which is no step and no input; there "
                    f"are {', '.join(others)}{nearest(reference, others)}"
                )
    in_order(every, inputs)


def in_order(steps: Mapping[str, StepRecipe], inputs: Collection[str]) -> dict[str, StepRecipe]:
    """Steps sorted so that each stands after those that it reads.

    Raises
    ------
    ValueError
        When steps read each other in a circle.
    """
    graph = {name: step.within(steps, inputs) for name, step in steps.items()}
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " of ".join(reversed(error.args[1]))
        raise ValueError(f"steps read each other in a circle: {circle}") from None
    return {name: steps[name] for name in order}
