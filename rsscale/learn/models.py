"""Models on disk: a folder with the contract (``item.json``, STAC MLM) and the weights."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsscale.cluster.machine import Precision
from rsscale.errors import ModelError
from rsscale.learn.accelerate import accelerate
from rsscale.learn.architectures import build, complete, small_size
from rsscale.learn.model_folder import ModelFolder
from rsscale.model.files import files_digest, read_item, weights_path
from rsscale.model.spec import ModelSpec

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class _AsOpened:
    """Where a model came from, and how to tell whether it is still what was opened."""

    folder: ModelFolder
    module: nn.Module
    state: str

    def is_still(self, module: nn.Module) -> bool:
        return module is self.module and _state_digest(module) == self.state


@dataclass(frozen=True)
class Model:
    """A network with its contract, ready to predict.

    Attributes
    ----------
    spec : ModelSpec
        What it reads, how it is run, what it returns.
    module : torch.nn.Module
        ``(N, C, H, W)`` float32 to class scores ``(N, K, H, W)``, in evaluation mode.
    device : torch.device
        Where the weights are.
    digest : str
        Hash of contract and weights as they lie on disk; empty for a model that does not.
    precision : str
        What the network computes in: ``"float32"`` or ``"bfloat16"``.
    compiled : bool
        Whether ``module`` was compiled.
    """

    spec: ModelSpec
    module: nn.Module
    device: torch.device
    digest: str = ""
    precision: Precision = "float32"
    compiled: bool = False
    _opened: _AsOpened | None = field(default=None, repr=False, compare=False)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax for normalised images, missing values 0."""
        # The layout that oneDNN and cuDNN convolve fastest; it does not change a value's meaning.
        scores: torch.Tensor = self.module(batch.contiguous(memory_format=torch.channels_last))
        return scores

    def to(self, device: str | torch.device) -> Model:
        """The same model on another device; this one stays where it is.

        Raises
        ------
        ModelError
            When there is no such device, or the model was compiled for the one where it is.
        """
        if self.compiled:
            raise ModelError(
                f"model {self.spec.name!r} is compiled for {str(self.device)!r}; move it first, "
                "then compile it"
            )
        module = move(deepcopy(self.module), device)
        opened = self._opened
        if opened is not None and opened.module is self.module:
            folder = replace(opened.folder, device=str(device))
            opened = replace(opened, folder=folder, module=module)
        return replace(self, module=module, device=torch.device(device), _opened=opened)

    def source(self) -> ModelFolder | None:
        """The folder to open this very model from; None when it came from none, or was changed.

        Weights that were trained further, another module and the mode of training count as
        changed. All weights are hashed to tell.
        """
        opened = self._opened
        return opened.folder if opened is not None and opened.is_still(self.module) else None

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process is not what was opened there.
        return {**self.__dict__, "_opened": None}


def open_model(
    path: str | Path,
    *,
    device: str | torch.device | None = None,
    trust: bool = False,
    precision: Precision = "float32",
    compile: bool = False,  # noqa: A002 -- torch's name for it
) -> Model:
    """Open a model folder.

    Parameters
    ----------
    path : path
        A folder with ``item.json`` (a STAC item with MLM metadata) and the weights that its
        asset with role ``mlm:model`` names: ``.safetensors`` for an architecture that rsscale
        knows, or a ``.pt2`` program of :func:`torch.export.export` with dynamic batch, height
        and width.
    device : str or torch.device, optional
        The GPU if there is one, when omitted.
    trust : bool
        Open a ``.pt2`` program: torch unpickles what it finds in one, so that whoever wrote
        the file can run any code. Safetensors never need it.
    precision : str
        ``"bfloat16"`` for GPUs and CPUs that have instructions for it.
    compile : bool
        For windows one at a time; see :func:`rsscale.learn.accelerate.accelerate` for both.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        When the folder, its item or its weights are missing, damaged or do not fit each
        other; when the weights are a pickle, or a program that is not trusted; when there is
        no such device, or it has no such precision.
    """
    folder = Path(path).absolute()
    model = _read(Path(path), device, trust=trust, check=True)
    model = accelerate(model, precision=precision, compile=compile)
    how = ModelFolder(str(folder), model.digest, str(model.device), trust, precision, compile)
    return replace(model, _opened=_AsOpened(how, model.module, _state_digest(model.module)))


def open_again(folder: ModelFolder) -> Model:
    """Open what was looked at, or opened and tried on a window, before; on a worker, say.

    Parameters
    ----------
    folder : ModelFolder
        Its digest is not compared.
    """
    model = _read(Path(folder.path), folder.device, trust=folder.trust, check=False)
    return accelerate(model, precision=folder.precision, compile=folder.compile)


def open_frozen(path: str | Path, device: str | torch.device) -> Model:
    """Open a model that a run keeps: it was tried on a window when the run was planned.

    Parameters
    ----------
    path : path
        As for :func:`open_model`.
    device : str or torch.device
    """
    return _read(Path(path), device, trust=False, check=False)


def _read(folder: Path, device: str | torch.device | None, *, trust: bool, check: bool) -> Model:
    item = read_item(folder)
    spec = ModelSpec.from_item(item)
    weights = weights_path(folder, item)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    size = spec.lattice.window
    if weights.suffix == ".pt2":
        module = _open_program(weights, trust=trust)
    else:
        module = _open_weights(weights, spec).eval().to(memory_format=torch.channels_last)
        size = small_size(size)  # seconds less for a U-Net
    if check:
        check_windows(module, spec, size, str(weights))
    digest = files_digest(folder / "item.json", weights)
    return Model(spec, move(module, device), torch.device(device), digest)


def save_model(
    model: Model,
    path: str | Path,
    *,
    geometry: Mapping[str, Any] | None = None,
    **properties: Any,
) -> Model:
    """Write a model of a known architecture as a folder that :func:`open_model` reads.

    Parameters
    ----------
    model : Model
    path : path
        The folder; files of an earlier model in it are replaced.
    geometry : GeoJSON mapping, optional
        Where it was trained, EPSG:4326.
    **properties
        Properties of the STAC item, e.g. ``start_datetime`` and what was measured.

    Returns
    -------
    Model
        The same with the digest of what was written.

    Raises
    ------
    ModelError
        When its contract does not name the architecture of its module, so that it could not
        be opened again; or when the folder can't be written.
    """
    from safetensors.torch import save_file

    folder = Path(path)
    named = complete(model.spec.architecture, model.spec.hyperparameters)
    spec = replace(model.spec, hyperparameters=named)
    _check_known(spec, model.module)
    item = spec.to_item(geometry, **properties)
    item["properties"]["mlm:framework_version"] = version("torch")
    item["properties"]["mlm:total_parameters"] = sum(p.numel() for p in model.module.parameters())
    item["assets"]["model"] = {
        "href": f"./{_WEIGHTS}",
        "type": "application/octet-stream; framework=safetensors",
        "title": f"Weights of {spec.name}",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors",
    }
    state = {k: v.detach().cpu().contiguous() for k, v in model.module.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
            save_file(state, Path(scratch) / _WEIGHTS)
            (Path(scratch) / "item.json").write_text(json.dumps(item, indent=1) + "\n", "utf-8")
            # Without its contract a folder is no model: an older one goes first, the new one
            # comes last, and no crash leaves the weights of one beside the contract of another.
            (folder / "item.json").unlink(missing_ok=True)
            for name in (_WEIGHTS, "item.json"):
                (Path(scratch) / name).replace(folder / name)
    except OSError as error:
        raise ModelError(
            f"the model can't be written to {folder}: {error.strerror or error}; choose another "
            "folder"
        ) from error
    return replace(model, spec=spec, digest=files_digest(folder / "item.json", folder / _WEIGHTS))


def _check_known(spec: ModelSpec, module: nn.Module) -> None:
    with torch.device("meta"):
        built = build(spec.architecture, spec.channels, len(spec.classes), **spec.hyperparameters)
    expected = {name: value.shape for name, value in built.state_dict().items()}
    if expected != {name: value.shape for name, value in module.state_dict().items()}:
        raise ModelError(
            f"model {spec.name!r} says that it is {spec.architecture!r} with "
            f"{dict(spec.hyperparameters)}, but its weights are of another network; it could not "
            "be opened again"
        )


def _open_weights(path: Path, spec: ModelSpec) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    module = build(spec.architecture, spec.channels, len(spec.classes), **spec.hyperparameters)
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged or not safetensors: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path} does not hold the weights of {spec.architecture!r} with {spec.channels} "
            f"channels and {len(spec.classes)} classes, as item.json says: {reason}"
        ) from None
    return module


def _open_program(path: Path, *, trust: bool) -> nn.Module:
    # Sample inputs and constants in the archive are pickles, read with weights_only=False.
    if not trust:
        raise ModelError(
            f"{path} is a torch.export program, which may run any code when it is opened; save "
            "the weights of an architecture that rsscale knows as .safetensors, or, if you trust "
            "its source, open it with trust=True"
        )
    try:
        program = torch.export.load(path)
    except Exception as error:  # noqa: BLE001 -- torch raises whatever its archive reader meets
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} can't be opened as a torch.export program: {reason}") from None
    module: nn.Module = program.module()
    return module


def check_windows(module: nn.Module, spec: ModelSpec, size: int, what: str) -> None:
    """Run a network once on nothing: a mismatch shows now, not on a thousand tiles.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : ModelSpec
    size : int
        Width to try, px: that of the contract's windows, or one that stands for it.
    what : str
        What the message is about.

    Raises
    ------
    ModelError
        When it does not take a window of the contract, or returns something else.
    """
    try:
        with torch.inference_mode():
            window = torch.zeros(1, spec.channels, size, size)
            found = tuple(module(window.to(memory_format=torch.channels_last)).shape)
    except Exception as error:  # noqa: BLE001 -- a network may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{what} can't predict a window of {spec.channels} channels and "
            f"{spec.lattice.window} px (stride + 2 halo): {reason}"
        ) from None
    expected = (1, len(spec.classes), size, size)
    if found != expected:
        raise ModelError(
            f"{what} returns {found} for one window, expected {expected}: classes and size of "
            "its contract"
        )


def move(module: nn.Module, device: str | torch.device) -> nn.Module:
    """A network on another device, moved in place; a device that is not there is refused."""
    try:
        return module.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises each
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"the model can't be moved to {str(device)!r}: {reason}") from None


def _state_digest(module: nn.Module) -> str:
    """A digest of a network's weights and of which of its parts are in the mode of training."""
    total = hashlib.sha256(bytes(part.training for part in module.modules()))
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            kind = f"{name} {value.dtype} {tuple(value.shape)}"
            total.update(kind.encode())
            # As bytes: NumPy has no bfloat16.
            flat = value.detach().cpu().contiguous().reshape(-1)
            total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()
