"""The numeric profile: device, precision and compilation, which may change a value's last digit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rsscale.cluster.machine import Machine, Precision, no_bfloat16
from rsscale.errors import ModelError


@dataclass(frozen=True)
class NumericProfile:
    """Settings that may change a value's last digit; maps of one profile are equal.

    Attributes
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.
    threads : int
        Threads of torch within one operation, and threads that read.
    batch : int
        Windows that the model sees at once.
    precision : {"float32", "bfloat16"}
        ``"bfloat16"`` by autocast.
    compile : bool
        Whether the network is compiled.
    """

    device: str
    threads: int
    batch: int = 1
    precision: Precision = "float32"
    compile: bool = False

    @classmethod
    def on(
        cls,
        machine: Machine,
        device: str = "auto",
        threads: int | None = None,
        *,
        precision: Precision = "float32",
        compile: bool = False,  # noqa: A002 -- torch's word
    ) -> NumericProfile:
        """The profile of a machine: its GPU if it has one, and its cores.

        Raises
        ------
        ModelError
            When it lacks the device, or the device the precision.
        """
        where = "some of the workers see" if machine.is_mixed else "torch sees"
        if device == "auto":
            if machine.is_mixed:
                raise ModelError(
                    "some of the workers see a GPU and others none, and a map is to be made in one "
                    "way; say device 'cpu', or take workers of one kind"
                )
            device = "cuda" if "cuda" in machine.devices else "cpu"
        if device == "cuda" and "cuda" not in machine.devices:
            raise ModelError(f"device 'cuda' was asked for, and {where} no GPU; use 'cpu'")
        if precision == "bfloat16" and device not in machine.bfloat16:
            raise ModelError(no_bfloat16(device))
        return cls(device, threads or machine.cores, precision=precision, compile=compile)

    def apply(self) -> None:
        """Set this process's torch to the profile."""
        import torch

        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    @property
    def is_plain(self) -> bool:
        """Whether the network computes as it was opened."""
        return self.precision == "float32" and not self.compile

    def to_dict(self) -> dict[str, Any]:
        """The profile for run.json."""
        return asdict(self)
