"""Send a function of a notebook by value to workers that can't import it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from rsscale.errors import RecipeError
from rsscale.functions.call import Function
from rsscale.passes.function import FunctionPass
from rsscale.steps.base import Step

# It travels with every task: what it holds beside its code is to be small.
_MOST_BYTES = 10 * 2**20


@dataclass(frozen=True)
class FunctionByValue:
    """Gives the function of a step to the workers: pickled with its tasks, never on a disk.

    Functions of ``__main__``, lambdas and closures are pickled whole by cloudpickle, with what they
    refer to; a function of a module by its name alone, so that workers need the module.

    Attributes
    ----------
    step : str
    function : callable, optional
        Here.
    pickled : bytes
        On the way, and on a worker.
    """

    step: str
    function: Function | None = None
    pickled: bytes = b""

    def complete(self, opened: Step) -> Step:
        """The step with its function.

        Raises
        ------
        RecipeError
            When this process can't unpickle it.
        """
        if not isinstance(opened, FunctionPass):
            raise RecipeError(f"step {self.step!r} is no function, but {opened.kind!r}")
        return replace(opened, function=self.function or self._unpickled())

    def packed(self) -> FunctionByValue:
        """The same, ready to travel.

        Raises
        ------
        RecipeError
            When the function can't be pickled, or is large.
        """
        if self.pickled:
            return self
        try:
            pickled = cloudpickle.dumps(self.function)
        except Exception as error:  # whatever an object says that can't be pickled
            raise RecipeError(
                f"the function of {self.step!r} can't be sent to workers: {error}; open files, "
                "locks and connections inside of it"
            ) from error
        if len(pickled) > _MOST_BYTES:
            raise RecipeError(
                f"the function of {self.step!r} holds {len(pickled) / 2**20:.0f} MiB, which would "
                f"travel with every tile; it may hold {_MOST_BYTES / 2**20:.0f}: read large things "
                "from a file inside of it"
            )
        return replace(self, pickled=pickled)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.step, None, self.packed().pickled)

    def _unpickled(self) -> Function:
        try:
            function: Function = cloudpickle.loads(self.pickled)
        except Exception as error:  # whatever importing what it needs raises
            raise RecipeError(
                f"the function of {self.step!r} can't be opened on a worker: {error}; workers need "
                "the modules that it uses"
            ) from error
        return function
