"""Networks of any framework as ONNX files, computed by ONNX Runtime.

An ONNX file is a graph of standard operators and its weights; it runs no code of its own. Operators
of others, which are libraries of code, are not loaded, so that a file with one is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import ModelError, missing_extra
from rsscale.model.artifacts import ONNX
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.base import RuntimeModule
from rsscale.user_code import said

_log = logging.getLogger("rsscale")

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
# A tensor that lies in another file has an entry with this key (TensorProto.external_data).
_ELSEWHERE = b"\x0a\x08location\x12"
# Bytes of the window's own size that layers hold at once, where that can't be seen.
_ACTIVATIONS = 64


@dataclass(frozen=True)
class _GraphInput:
    """Type and shape of an input; lengths that may be any are names or None."""

    type: str
    shape: tuple[int | str | None, ...]


class OnnxModule(RuntimeModule):
    """A network in ONNX Runtime, with as many threads within an operation as torch has.

    On a GPU it is computed there where ONNX Runtime is installed with CUDA, else on the CPU.
    A network for exactly one window is given windows one at a time.

    Parameters
    ----------
    spec : ModelSpec
        Of its layout the graph's inputs are: one for channels or a series, whatever its name; of
        a mapping each by its name, ``NAME``, ``NAME.days`` or ``NAME.valid``.
    content : bytes
        The file.

    Raises
    ------
    ModelError
        When it is no ONNX file, or its inputs are not those of the contract.
    """

    artifact = ONNX

    def __init__(self, spec: ModelSpec, content: bytes, name: str = "") -> None:
        super().__init__()
        self._content, self._name = content, name or f"model {spec.name!r}"
        self._layout, self._window = spec.layout, spec.lattice.window
        self._sessions: dict[tuple[int, str], Any] = {}
        if _ELSEWHERE in content:
            raise ModelError(
                f"{self._name} keeps weights in another file, which is not read; export it as one "
                "file (torch.onnx.export(external_data=False), onnx.save_model)"
            )
        session = self._session("cpu")
        inputs = session.get_inputs()
        self._inputs = {part.name: _GraphInput(part.type, tuple(part.shape)) for part in inputs}
        self._outputs = [part.name for part in session.get_outputs()]
        self._check_inputs(spec)
        first = [part.shape[0] for part in self._inputs.values() if part.shape]
        fixed = {size for size in first if isinstance(size, int)}
        if fixed - {1}:
            raise ModelError(
                f"{self._name} takes exactly {max(fixed)} windows at once; export it with a batch "
                "of any size (torch.onnx.export(dynamic_axes={'input': {0: 'batch'}}) or "
                "dynamic_shapes), or of 1"
            )
        self._is_single = fixed == {1}

    def _check_inputs(self, spec: ModelSpec) -> None:
        names = list(self._inputs)
        if spec.layout != "mapping":
            if len(names) != 1:
                raise ModelError(
                    f"{self._name} has the inputs {names}; the layout {spec.layout!r} gives one, "
                    "and 'mapping' each by its name"
                )
        else:
            known = [i.name for i in spec.inputs]
            known += [f"{i.name}.{extra}" for i in spec.inputs for extra in i.takes]
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ModelError(
                    f"{self._name} has the input {unknown[0]!r}; the contract gives "
                    f"{', '.join(known)}: name them alike"
                )
        for name, part in self._inputs.items():
            if part.type not in _TYPES:
                raise ModelError(
                    f"{self._name}: input {name!r} is of {part.type}; expected one of "
                    f"{', '.join(_TYPES)}"
                )
            expected = 5 if spec.layout != "channels" and "." not in name else 4
            if "." not in name and len(part.shape) != expected:
                raise ModelError(
                    f"{self._name}: input {name!r} has the shape {part.shape}; the layout "
                    f"{spec.layout!r} gives {expected} dimensions"
                )
            wide = [s for s in part.shape[-2:] if isinstance(s, int) and s != self._window]
            if "." not in name and wide:
                raise ModelError(
                    f"{self._name} takes windows of {part.shape[-2]} x {part.shape[-1]} px; its "
                    f"contract has {self._window} px (stride + 2 halo): make that the same, or "
                    "export it for any size"
                )

    def forward(self, images: torch.Tensor | Mapping[str, torch.Tensor]) -> Any:
        """What the graph returns: its one output, or a dict of output name to tensor."""
        given = {next(iter(self._inputs)): images} if isinstance(images, torch.Tensor) else images
        device = next(iter(given.values())).device
        arrays = {
            name: self._array(given[name], _TYPES[part.type]) for name, part in self._inputs.items()
        }
        session = self._session(device.type)
        count = len(next(iter(arrays.values())))
        if self._is_single and count != 1:
            parts = [
                session.run(None, {name: array[n : n + 1] for name, array in arrays.items()})
                for n in range(count)
            ]
            results = [np.concatenate(values) for values in zip(*parts, strict=True)]
        else:
            results = session.run(None, arrays)
        tensors = {
            name: torch.from_numpy(np.asarray(result)).to(device)
            for name, result in zip(self._outputs, results, strict=True)
        }
        return tensors if len(tensors) > 1 else tensors[self._outputs[0]]

    @staticmethod
    def _array(tensor: torch.Tensor, kind: Any) -> npt.NDArray[Any]:
        return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(kind, copy=False))

    @property
    def weight_bytes(self) -> int:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`: the file, and its graph once more."""
        return 2 * len(self._content)

    def working_bytes(self, pixels: int) -> int:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`."""
        return 4 * _ACTIVATIONS * pixels

    def write(self, path: Path) -> None:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`."""
        path.write_bytes(self._content)

    def _session(self, device: str) -> Any:
        """The graph, ready to run with torch's threads of now; the last one is kept."""
        key = (torch.get_num_threads(), device)
        if key not in self._sessions:
            self._sessions = {key: _open_session(self._content, self._name, *key)}
        return self._sessions[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sessions": {}}  # a session belongs to its process

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModule:
        del memo  # nothing of it changes but the session
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__getstate__())
        return copied


def open_onnx(path: Path, spec: ModelSpec) -> OnnxModule:
    """Open an ONNX file.

    Raises
    ------
    ModelError
        When it is none, or does not fit its contract.
    MissingExtraError
        When ONNX Runtime is not installed.
    """
    return OnnxModule(spec, path.read_bytes(), str(path))


def _open_session(content: bytes, name: str, threads: int, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("an ONNX file", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: what may be slow is not for a user to mend
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        else:
            _log.warning(
                "%s is computed on the CPU: ONNX Runtime is installed without CUDA here "
                "(onnxruntime-gpu has it)",
                name,
            )
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # noqa: BLE001 -- ONNX Runtime has many types, all plain exceptions
        raise ModelError(
            f"{name} can't be opened by ONNX Runtime {onnxruntime.__version__}: {said(error)[:250]}"
        ) from None
