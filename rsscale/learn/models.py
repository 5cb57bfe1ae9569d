"""Models on disk: a folder with the contract (``item.json``, STAC MLM) and the weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsscale.cluster.machine import Precision
from rsscale.errors import ModelError
from rsscale.learn.accelerate import accelerate
from rsscale.learn.architectures import build, complete
from rsscale.learn.model import AsOpened, Model, state_digest
from rsscale.learn.model_folder import ModelFolder
from rsscale.learn.weights import read_model
from rsscale.model.files import files_digest
from rsscale.model.spec import ModelSpec

_WEIGHTS = "model.safetensors"


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
    model = read_model(Path(path), device, trust=trust, check=True)
    model = accelerate(model, precision=precision, compile=compile)
    how = ModelFolder(str(folder), model.digest, str(model.device), trust, precision, compile)
    return replace(model, _opened=AsOpened(how, model.module, state_digest(model.module)))


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
        built = build(spec.architecture, spec.inputs, spec.output_channels, **spec.hyperparameters)
    expected = {name: value.shape for name, value in built.state_dict().items()}
    if expected != {name: value.shape for name, value in module.state_dict().items()}:
        raise ModelError(
            f"model {spec.name!r} says that it is {spec.architecture!r} with "
            f"{dict(spec.hyperparameters)}, but its weights are of another network; it could not "
            "be opened again"
        )


__all__ = ["Model", "open_model", "save_model"]
