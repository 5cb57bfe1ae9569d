"""Send a model to the processes that compute a lazy map, once to each.

A model in a folder goes as its address and the digest of its files, and is opened by each process
that needs it. Any other model goes as a pickle, once in a graph and once to each process. Nothing
here needs torch: a Dask scheduler looks at what passes through.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

from rsscale.errors import ModelError
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor

# Those of a few periods or dates, and one that comes next.
_KEPT = 4


@runtime_checkable
class ModelSource(Protocol):
    """Source of a model for any process: pickled, and small unless it says so."""

    @property
    def key(self) -> str:
        """The same for the same model opened in the same way."""

    @property
    def spec(self) -> ModelSpec:
        """The contract, without opening the model."""

    def open(self) -> Predictor:
        """The model itself.

        Raises
        ------
        ModelError
            When it can't be had in this process.
        """


@runtime_checkable
class FromSource(Protocol):
    """A model that may know where it came from."""

    def source(self) -> ModelSource | None:
        """Source of the very same model; None when there is none."""


@dataclass(frozen=True)
class PickledModel:
    """A model that lies in no folder, as it was when a lazy map was asked for.

    Attributes
    ----------
    key : str
        Digest of ``data``.
    spec : ModelSpec
    data : bytes
        The pickle, weights included.
    """

    key: str
    spec: ModelSpec
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, model: Predictor) -> PickledModel:
        """Pickle a model; classes of a notebook travel with it.

        Raises
        ------
        ModelError
            When it can't be pickled, as a compiled model.
        """
        import cloudpickle

        try:
            data = cloudpickle.dumps(model, protocol=5)
        except Exception as error:  # whatever an object's own code raises
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"model {model.spec.name!r} can't be sent to workers ({reason}); save it with "
                "rsscale.learn.models.save_model and use rsscale.open_model, or compute the "
                "composite first"
            ) from error
        return cls(hashlib.sha256(data).hexdigest()[:16], model.spec, data)

    def open(self) -> Predictor:
        """See :class:`ModelSource`."""
        # Only what `of` made in the user's own session.
        return cast("Predictor", pickle.loads(self.data))  # noqa: S301

    def __sizeof__(self) -> int:
        return len(self.data)  # for Dask's count of a worker's memory


def source_of(model: Predictor | ModelSource) -> ModelSource:
    """The source from which workers open a model."""
    if isinstance(model, ModelSource):
        return model
    known = model.source() if isinstance(model, FromSource) else None
    return known or PickledModel.of(model)


def opened(source: ModelSource) -> Predictor:
    """The model of a source, opened once in a process; the last few are kept."""
    return _MODELS.get(source)


class _Models:
    """The models that this process has opened last, by their key.

    Not :func:`rsscale.decorators.once.once`: that would keep, beside each model, the source it
    came from, which may hold a whole pickle of it.
    """

    def __init__(self) -> None:
        self.forget()

    def get(self, source: ModelSource) -> Predictor:
        with self._opening:
            if source.key not in self._models:
                self._models[source.key] = source.open()
                while len(self._models) > _KEPT:
                    self._models.popitem(last=False)
            self._models.move_to_end(source.key)
            return self._models[source.key]

    def forget(self) -> None:
        self._models: OrderedDict[str, Predictor] = OrderedDict()
        self._opening = threading.Lock()


_MODELS = _Models()
# A forked child can't use what lies on a GPU, and nobody is left to give the lock back.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_MODELS.forget)
