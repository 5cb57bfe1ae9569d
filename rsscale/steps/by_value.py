"""What a step lacks that no run folder can hold: it is given by value, with the tasks."""

from __future__ import annotations

from typing import Protocol

from rsscale.steps.base import Step


class ByValue(Protocol):
    """Makes an opened step whole, on the worker that computes a tile of it.

    Only what is given travels, pickled: the step itself is opened from the run folder there as
    everywhere, so that a task stays small however much sources and ledgers hold.
    """

    @property
    def step(self) -> str:
        """Name of the step."""

    def complete(self, opened: Step) -> Step:
        """The step with what it lacked."""
