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
from rsscale.importing.user_code import error_line
from rsscale.model.artifacts import ONNX
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.base import RuntimeModule

_log = logging.getLogger("rsscale")

# Pixels of a graph of rows at once.
ROWS = 1 << 15
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
        a mapping each by its name, ``NAME``, ``NAME.days`` or ``NAME.valid``. A graph of rows
        ``(pixel, feature)``, as of estimators, is given the channels of each pixel.
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
        shapes = [part.shape for part in self._inputs.values()]
        self._is_by_row = spec.layout == "channels" and len(shapes[0]) == 2
        if self._is_by_row:
            self._check_rows(shapes[0], spec)
        first = [part.shape[0] for part in self._inputs.values() if part.shape]
        fixed = {size for size in first if isinstance(size, int)}
        if fixed - {1} or (fixed and self._is_by_row):
            noun = "pixels" if self._is_by_row else "windows"
            raise ModelError(
                f"{self._name} takes exactly {max(fixed)} {noun} at once; export it with a batch "
                "of any size (torch.onnx.export(dynamic_axes={'input': {0: 'batch'}}) or "
                "dynamic_shapes), or of 1"
            )
        self._is_single = fixed == {1}

    def _check_rows(self, shape: tuple[int | str | None, ...], spec: ModelSpec) -> None:
        if isinstance(shape[1], int) and shape[1] != spec.channels:
            raise ModelError(
                f"{self._name} takes rows of {shape[1]} features, and the contract has "
                f"{spec.channels} channels; give the bands and times that it was fitted to"
            )

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
            if spec.layout == "mapping" and name not in {i.name for i in spec.inputs}:
                continue  # days or what is valid
            expected = (4, 2) if spec.layout == "channels" else (5,)
            if len(part.shape) not in expected:
                raise ModelError(
                    f"{self._name}: input {name!r} has the shape {part.shape}; the layout "
                    f"{spec.layout!r} gives {expected[0]} dimensions"
                )
            wide = [s for s in part.shape[-2:] if isinstance(s, int) and s != self._window]
            if wide and len(part.shape) > 2:
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
        if self._is_by_row:
            results = self._by_row(next(iter(arrays.values())), session)
        else:
            results = self._results(arrays, session)
        tensors = {
            name: torch.from_numpy(np.asarray(result)).to(device)
            for name, result in zip(self._outputs, results, strict=True)
        }
        return tensors if len(tensors) > 1 else tensors[self._outputs[0]]

    def _by_row(self, images: npt.NDArray[Any], session: Any) -> list[npt.NDArray[Any]]:
        """Results ``(N, K, H, W)`` of a graph of single pixels, ``(pixel, feature)`` in."""
        count, channels, height, width = images.shape
        rows = images.transpose(0, 2, 3, 1).reshape(-1, channels)
        (name,) = self._inputs
        parts = [
            self._results({name: np.ascontiguousarray(rows[first : first + ROWS])}, session)
            for first in range(0, len(rows), ROWS)
        ]
        placed = []
        for output, values in zip(self._outputs, zip(*parts, strict=True), strict=True):
            if not all(isinstance(value, np.ndarray) for value in values):
                raise ModelError(
                    f"{self._name}: output {output!r} is no tensor; export it without ZipMap "
                    "(skl2onnx: options={'zipmap': False})"
                )
            numbers = np.concatenate(values).reshape(count, height, width, -1)
            placed.append(numbers.transpose(0, 3, 1, 2))
        return placed

    def _results(
        self, arrays: Mapping[str, npt.NDArray[Any]], session: Any
    ) -> list[npt.NDArray[Any]]:
        count = len(next(iter(arrays.values())))
        windows = range(count) if self._is_single else [slice(None)]
        parts = []
        for window in windows:
            some = slice(window, window + 1) if isinstance(window, int) else window
            try:
                parts.append(session.run(None, {k: array[some] for k, array in arrays.items()}))
            except Exception as error:
                shapes = {name: array[some].shape for name, array in arrays.items()}
                raise ModelError(
                    f"{self._name}: ONNX Runtime can't compute windows {shapes}: "
                    f"{error_line(error)[:250]}"
                ) from error
        if len(parts) == 1:
            return list(parts[0])
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    @staticmethod
    def _array(tensor: torch.Tensor, kind: Any) -> npt.NDArray[Any]:
        return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(kind, copy=False))

    @property
    def weight_bytes(self) -> int:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`: the file, and its graph once more."""
        return 2 * len(self._content)

    @property
    def reach(self) -> int | None:
        """See :class:`~rsscale.runtimes.base.RuntimeModule`."""
        return 0 if self._is_by_row else None

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
            f"{name} can't be opened by ONNX Runtime {onnxruntime.__version__}: "
            f"{error_line(error)[:250]}"
        ) from None
