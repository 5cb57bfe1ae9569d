"""Open the models of a map's steps, each once in a process: planning and tiles share them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import ModelError
from rsscale.learn.accelerate import accelerate
from rsscale.learn.model import Model
from rsscale.learn.weights import open_frozen
from rsscale.model.files import read_spec
from rsscale.model.spec import ModelSpec
from rsscale.prediction import model_source
from rsscale.steps.attachments import Attachment, Kept

_compared: dict[tuple[str, NumericProfile], object] = {}


def opened(model: Attachment | Kept, profile: NumericProfile, trust: Collection[str] = ()) -> Model:
    """The model, computing as the profile says; opened at the first call of a process.

    ``trust`` are the digests of models that may be programs.
    """
    accelerated = None if profile.is_plain else profile
    source = StepModel(model, profile.device, accelerated, tuple(trust))
    return cast("Model", model_source.opened(source))


def opened_plain(model: Attachment | Kept, device: str, trust: Collection[str] = ()) -> Model:
    """The model as it lies on disk, on a device; opened at the first call of a process."""
    return cast("Model", model_source.opened(StepModel(model, device, trust=tuple(trust))))


def plain_once(
    model: Attachment | Kept, profile: NumericProfile, trust: Collection[str] = ()
) -> Model | None:
    """The model as it lies on disk, at the first call in a process; then None.

    It is compared with the accelerated one, and not kept beside it.
    """
    mine = object()
    # One step for Python's own lock, so that one thread is the first.
    if _compared.setdefault((model.digest, profile), mine) is not mine:
        return None
    return StepModel(model, profile.device, trust=tuple(trust)).open()


@dataclass(frozen=True)
class StepModel:
    """Source of a step's model, as a run is planned and in the run's own folder.

    Attributes
    ----------
    model : Attachment or Kept
    device : str
    profile : NumericProfile, optional
        In bfloat16, compiled, or both, with weights of its own; as it lies on disk when omitted.
    trust : tuple of str
        Digests of models that may be programs.
    """

    model: Attachment | Kept
    device: str
    profile: NumericProfile | None = None
    trust: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Digest with the device, or the whole profile: threads and batch are in compiled code."""
        return f"{self.model.digest}-{self.profile or self.device}"

    @property
    def spec(self) -> ModelSpec:
        """The contract."""
        return read_spec(self.model.folder)

    def open(self) -> Model:
        """The model itself; not tried on a window, see :func:`rsscale.learn.weights.try_window`.

        Raises
        ------
        ModelError
            When it can't be opened, or another model than the step's lies there.
        """
        folder = self.model.folder
        model = open_frozen(folder, device=self.device, trust=self.trust)
        if model.digest != self.model.digest:
            raise ModelError(
                f"{folder} holds another model ({model.digest}) than the step was planned with "
                f"({self.model.digest}); put that one back, or run the recipe again"
            )
        if self.profile is None:
            return model
        self.profile.apply()
        return accelerate(
            model,
            precision=self.profile.precision,
            compile=self.profile.compile,
            batch=self.profile.batch,
        )
