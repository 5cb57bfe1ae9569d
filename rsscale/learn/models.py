"""Models on disk: a folder with the contract (``item.json``, STAC MLM) and the weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from rsscale.cluster.machine import Precision
from rsscale.errors import ModelError
from rsscale.learn.accelerate import accelerate
from rsscale.learn.architectures import build, can_make, complete
from rsscale.learn.model import AsOpened, Model, state_digest
from rsscale.learn.model_folder import ModelFolder
from rsscale.learn.weights import read_model, state_difference
from rsscale.model.artifacts import PROGRAM, WEIGHTS, Artifact
from rsscale.model.files import REPORT_FILES, files_digest
from rsscale.model.spec import ModelSpec
from rsscale.network.receptive_field import innermost
from rsscale.runtimes.base import RuntimeModule
from rsscale.runtimes.factory import is_address
from rsscale.runtimes.pretrained import pretrained_properties, without_path
from rsscale.runtimes.torch_program import write_program


def open_model(
    path: str | Path,
    *,
    device: str | torch.device | None = None,
    trust: bool = False,
    precision: Precision = "float32",
    compile: bool = False,  # noqa: A002 -- torch's name for it
) -> Model:
    """Open the folder of a model, to map or to find objects with it.

    Parameters
    ----------
    path : path
        A folder with ``item.json`` (a STAC item with MLM metadata) and the weights that its
        asset with role ``mlm:model`` names: ``.safetensors`` for an architecture that rsscale
        knows or a function makes (``smp:Unet``, ``module:function``), a ``.pt2`` program of
        :func:`torch.export.export` with dynamic batch, height and width, ``.onnx``, an estimator
        as ``.skops``, or LightGBM's ``model.txt``.
    device : str or torch.device, optional
        The GPU if there is one, when omitted; for models of other libraries than torch the CPU.
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


class ModelReport(Protocol):
    """Protocol of what is known of a model's training, such as a ``TrainingReport``."""

    def properties(self) -> dict[str, Any]:
        """For the STAC item."""

    def write(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Write files into a folder; their STAC assets by name, ``href`` the file's name."""


def save_model(
    model: Model,
    path: str | Path,
    *,
    report: ModelReport | None = None,
    geometry: Mapping[str, Any] | None = None,
    **properties: Any,
) -> Model:
    """Write a model as a folder that :func:`open_model` reads.

    A network whose contract names an architecture that can be made again is written as its weights,
    ``model.safetensors``; any other as a program of :func:`torch.export.export`, ``model.pt2``,
    which must be trusted where it is opened. An estimator is written as ``model.skops``, LightGBM
    as ``model.txt``, ONNX as ``model.onnx``; none of these runs code.

    Parameters
    ----------
    model : Model
    path : path
        The folder; files of an earlier model in it are replaced.
    report : TrainingReport, optional
        Of its training: the item gets its figures, the folder ``training.json``, ``split.geojson``
        and, where matplotlib is installed, pictures.
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
        When its module is not of the architecture that its contract names, can't be exported, or
        could not be opened again; or when the folder can't be written.
    """
    folder = Path(path)
    artifact = _artifact(model)
    spec = model.spec
    if artifact is WEIGHTS:
        named = without_path(complete(spec.architecture, spec.hyperparameters))
        spec = replace(spec, hyperparameters=named)
        _check_known(spec, model.module)
    measured = report.properties() if report else {}
    item = spec.to_item(geometry, **_pretrained(spec), **{**measured, **properties})
    item["properties"]["mlm:framework"] = artifact.framework
    if framework_version := _version(artifact):
        item["properties"]["mlm:framework_version"] = framework_version
    if parameters := sum(p.numel() for p in model.module.parameters()):
        item["properties"]["mlm:total_parameters"] = parameters
    item["assets"]["model"] = {
        "href": f"./{artifact.name}",
        "type": artifact.media_type,
        "title": f"Weights of {spec.name}",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": artifact.artifact_type,
        # STAC has bands among an item's properties only where an asset has them too.
        "bands": [{"name": band["name"]} for band in item["properties"].get("bands", ())],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
            _write(model, artifact, Path(scratch) / artifact.name)
            item["assets"] |= _write_report(report, Path(scratch))
            (Path(scratch) / "item.json").write_text(json.dumps(item, indent=1) + "\n", "utf-8")
            _replace(folder, Path(scratch))
    except OSError as error:
        raise ModelError(
            f"the model can't be written to {folder}: {error.strerror or error}; choose another "
            "folder"
        ) from error
    digest = files_digest(folder / "item.json", folder / artifact.name)
    return replace(model, spec=spec, digest=digest)


def _write_report(report: ModelReport | None, scratch: Path) -> dict[str, Any]:
    """Write what is known of the training; its assets."""
    assets = report.write(scratch) if report else {}
    return {name: {**asset, "href": f"./{asset['href']}"} for name, asset in sorted(assets.items())}


def _replace(folder: Path, scratch: Path) -> None:
    """Put new files in the place of those of an earlier model."""
    # Without its contract a folder is no model: an older one goes first, the new one
    # comes last, and no crash leaves the weights of one beside the contract of another.
    for name in ("item.json", *REPORT_FILES):
        (folder / name).unlink(missing_ok=True)
    names = sorted(path.name for path in scratch.iterdir() if path.name != "item.json")
    for name in (*names, "item.json"):
        (scratch / name).replace(folder / name)


def _artifact(model: Model) -> Artifact:
    """The kind of file that a model is written as."""
    if isinstance(model.module, RuntimeModule):
        return model.module.artifact
    if model.compiled or model.precision != "float32":
        raise ModelError(
            f"model {model.spec.name!r} was accelerated; save it as it was before, and open it "
            "with precision or compile"
        )
    return WEIGHTS if can_make(model.spec.architecture) else PROGRAM


def _write(model: Model, artifact: Artifact, path: Path) -> None:
    from safetensors.torch import save_file

    module = model.module
    if isinstance(module, RuntimeModule):
        module.write(path)
    elif artifact is PROGRAM:
        write_program(
            module if model.device.type == "cpu" else deepcopy(module).cpu(), model.spec, path
        )
    else:
        state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
        save_file(state, path)
    path.chmod(0o644)  # safetensors makes it private; a model is read by workers of other users


def _pretrained(spec: ModelSpec) -> dict[str, Any]:
    return (
        pretrained_properties(spec.hyperparameters)
        if is_address(innermost(spec.architecture))
        else {}
    )


def _version(artifact: Artifact) -> str | None:
    """The version of the library that wrote it; none of ONNX, whose files any library writes."""
    libraries = {"pytorch": "torch", "scikit-learn": "scikit-learn", "LightGBM": "lightgbm"}
    library = libraries.get(artifact.framework)
    return None if library is None else version(library)


def _check_known(spec: ModelSpec, module: nn.Module) -> None:
    with torch.device("meta"):
        built = build(spec.architecture, spec.inputs, spec.output_channels, **spec.hyperparameters)
    if difference := state_difference(built.state_dict(), module.state_dict()):
        raise ModelError(
            f"model {spec.name!r} says that it is {spec.architecture!r} with "
            f"{dict(spec.hyperparameters)}, but its weights are of another network, so that it "
            f"could not be opened again: {difference}"
        )


__all__ = ["Model", "open_model", "save_model"]
