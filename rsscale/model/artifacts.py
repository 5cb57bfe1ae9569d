"""Kinds of files that a model may lie in: suffix, what runs it, and how STAC MLM calls that.

Nothing here opens one; :mod:`rsscale.runtimes` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsscale.errors import ModelError


@dataclass(frozen=True)
class Artifact:
    """A kind of file that holds a model.

    Attributes
    ----------
    suffix : str
        Of its name.
    framework : str
        ``mlm:framework``: what runs it.
    artifact_type : str
        ``mlm:artifact_type``: what wrote it.
    media_type : str
        Type of the asset.
    by_pixel : bool
        Whether the result of a pixel depends on that pixel alone.
    """

    suffix: str
    framework: str
    artifact_type: str
    media_type: str
    by_pixel: bool = False

    @property
    def name(self) -> str:
        """File name in a model folder."""
        return f"model{self.suffix}"


_BINARY = "application/octet-stream"
WEIGHTS = Artifact(".safetensors", "pytorch", "safetensors", f"{_BINARY}; framework=safetensors")
PROGRAM = Artifact(".pt2", "pytorch", "torch.export.save", f"{_BINARY}; framework=pytorch")
ONNX = Artifact(".onnx", "ONNX", "onnx", f"{_BINARY}; framework=onnx")
ESTIMATOR = Artifact(
    ".skops", "scikit-learn", "skops.io.dump", "application/zip; framework=scikit-learn", True
)
BOOSTING = Artifact(
    ".txt", "LightGBM", "lightgbm.Booster.save_model", "text/plain; framework=lightgbm", True
)
ARTIFACTS: Mapping[str, Artifact] = {
    artifact.suffix: artifact for artifact in (WEIGHTS, PROGRAM, ONNX, ESTIMATOR, BOOSTING)
}
"""Each kind by the suffix of its files."""

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")


def artifact_of(name: str) -> Artifact:
    """The kind of a file, by its name.

    Raises
    ------
    ModelError
        When it is a pickle, or nothing that is run here.
    """
    suffix = f".{name.rpartition('.')[2]}" if "." in name else ""
    if suffix.lower() in _PICKLES:
        raise ModelError(
            f"{name} is a pickle, which runs code when it is opened; save the weights with "
            "safetensors.torch.save_file, an estimator or any network with rsscale.save_model"
        )
    if suffix not in ARTIFACTS:
        raise ModelError(
            f"{name}: weights of this kind can't be read; rsscale runs weights as .safetensors, "
            "programs of torch.export as .pt2, .onnx, estimators of scikit-learn as .skops, and "
            "LightGBM's model.txt"
        )
    return ARTIFACTS[suffix]


def expected_framework(framework: str | None, assets: Any) -> str | None:
    """What to expect instead of the framework that an item names; None where it is right.

    Parameters
    ----------
    framework : str or None
        ``mlm:framework``; None where an item names none.
    assets : mapping or None
        The item's. Files of ONNX may come of any framework.
    """
    artifact = _of_assets(assets)
    if framework is None or artifact is ONNX:
        return None
    known = [kind for kind in ARTIFACTS.values() if _names(framework, kind)]
    if not known:
        return "models of PyTorch, ONNX, scikit-learn and LightGBM are run"
    if artifact is None or artifact in known:
        return None
    return f"{artifact.suffix} is a file of {artifact.framework}"


def _of_assets(assets: Any) -> Artifact | None:
    """The kind of the file that the asset of the model names, where it is one."""
    parts = assets.values() if isinstance(assets, Mapping) else ()
    hrefs = [str(part.get("href")) for part in parts if "mlm:model" in part.get("roles", ())]
    return ARTIFACTS.get(f".{hrefs[0].rpartition('.')[2]}") if hrefs else None


def _names(framework: str, kind: Artifact) -> bool:
    named, own = (_plain(name) for name in (framework, kind.framework))
    return own in named or (own == "pytorch" and "torch" in named)


def _plain(framework: str) -> str:
    return "".join(letter for letter in framework.lower() if letter.isalnum())
