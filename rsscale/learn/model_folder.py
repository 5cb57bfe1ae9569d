"""Read a model folder without torch: its contract, its files, their digest."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rsscale.cluster.machine import Precision
from rsscale.errors import ModelError
from rsscale.learn.model_html import model_html
from rsscale.model.files import files_digest, model_files, read_spec
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor


@dataclass(frozen=True)
class ModelFolder:
    """A model that is opened where it is used; here neither torch nor the weights are needed.

    :func:`rsscale.predict` takes it in place of an opened model. For a lazy composite each worker
    process opens it once; the folder must be visible there under the same path, with the same
    content.

    Attributes
    ----------
    path : str
        The folder, absolute.
    digest : str
        Of contract and weights; what is opened must have it. Read from the folder when omitted.
    device : str or None
        As :func:`rsscale.open_model` takes it; None for the GPU of whoever opens it, if it has one.
    trust, precision, compile
        As :func:`rsscale.open_model` takes them.
    """

    path: str
    digest: str = ""
    device: str | None = None
    trust: bool = False
    precision: Precision = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        if not self.digest:
            folder = Path(self.path).absolute()
            object.__setattr__(self, "path", str(folder))
            object.__setattr__(self, "digest", files_digest(*model_files(folder)))

    @classmethod
    def at(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        trust: bool = False,
        precision: Precision = "float32",
        compile: bool = False,  # noqa: A002 -- torch's name for it
    ) -> ModelFolder:
        """Look at a model folder; arguments as of :func:`rsscale.open_model`.

        Raises
        ------
        ModelError
            When the folder, its item or its weights are missing, or the weights are a pickle.
        """
        return cls(str(path), "", device, trust, precision, compile)

    @cached_property
    def spec(self) -> ModelSpec:
        """The contract, as the folder has it."""
        return read_spec(self.path)

    @property
    def key(self) -> str:
        """Digest and options that identify the opened model, whatever its path."""
        how = (self.digest, self.device, self.trust, self.precision, self.compile)
        return "-".join(map(str, how))

    def open(self) -> Predictor:
        """The model, opened in this process.

        Raises
        ------
        ModelError
            When this machine does not see the folder, or another model lies in it by now; and as
            :func:`rsscale.open_model`.
        """
        from rsscale.learn.accelerate import accelerate
        from rsscale.learn.weights import read_model

        if not Path(self.path).is_dir():
            raise ModelError(
                f"the worker on {socket.gethostname()!r} sees no model folder {self.path}; put it "
                "on a disk that all workers see under this path"
            )
        model = read_model(Path(self.path), self.device, trust=self.trust, check=False)
        model = accelerate(model, precision=self.precision, compile=self.compile)
        if model.digest != self.digest:
            raise ModelError(
                f"the model folder {self.path} on {socket.gethostname()!r} holds another model "
                f"({model.digest}) than when it was opened ({self.digest}); open it again and "
                "predict anew"
            )
        return model

    def _repr_html_(self) -> str:
        more = [("folder", self.path), ("digest", self.digest)]
        return model_html(self.spec, "", more)

    def __getstate__(self) -> dict[str, Any]:
        # Without the contract, if it was read: each task carries this.
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}
