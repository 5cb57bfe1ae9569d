"""A model of another library, such as ONNX Runtime or scikit-learn, as a module of torch.

Whatever takes windows of a :class:`rsscale.Model` calls it as it calls a network: with tensors, on
any device. It computes on the CPU unless it says so, and copies what lies on a GPU.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import nn

from rsscale.model.artifacts import Artifact


class RuntimeModule(nn.Module):
    """Base of the modules that another library than torch computes.

    Attributes
    ----------
    artifact : Artifact
        The kind of its file, and what runs it.
    """

    artifact: ClassVar[Artifact]

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    @property
    def reach(self) -> int | None:
        """How far it looks around a pixel, px; None where that is not known."""
        return 0 if self.artifact.by_pixel else None

    @property
    @abstractmethod
    def weight_bytes(self) -> int:
        """Memory of the model itself, about."""

    @abstractmethod
    def working_bytes(self, pixels: int) -> int:
        """Memory that it takes beside its input and result, for a window of ``pixels``, about."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the model as a file of its kind."""
