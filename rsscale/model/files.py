"""The files of a model folder, read without opening the network: contract, weights, digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsscale.documents import DocumentError, read_json
from rsscale.errors import ModelError
from rsscale.model.artifacts import artifact_of
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.model.validation import check_model_item

TRAINING = "training.json"
SELDOM = 0.02
"""Share of the labelled pixels that a time window was observed at: less, and nothing was learnt."""
"""What is known of the training, in a model folder."""
TRAINING_FORMAT = 1
"""Raised when an older reader of it would misread it."""
REPORT_FILES = (
    TRAINING,
    "split.geojson",
    *(f"{name}.png" for name in ("confusion", "values", "curves", "reliability", "split")),
    *(f"{name}.png" for name in ("precision-recall", "objects")),  # of detectors
)
"""Files of a model folder that tell of the training; none is needed to run the model."""
_MOST_BYTES = 2**24


def read_spec(path: str | Path) -> ModelSpec:
    """The contract of a model folder; the weights are not opened, and torch is not needed."""
    return ModelSpec.from_item(read_item(Path(path)))


def is_calibrated(spec: ModelSpec, properties: Mapping[str, Any]) -> bool:
    """Whether a model of classes was calibrated, or found to need none.

    Parameters
    ----------
    spec : ModelSpec
    properties : mapping
        Of its item: what rsscale says of its training is ``rsscale:training``.
    """
    output, training = spec.output, properties.get("rsscale:training")
    if isinstance(output, ClassOutput) and (output.temperature != 1.0 or output.conformal):
        return True
    return isinstance(training, Mapping) and bool(training.get("calibration"))


def model_files(path: str | Path) -> list[Path]:
    """The files of a model folder that make the model: its contract and its weights."""
    folder = Path(path)
    return [folder / "item.json", weights_path(folder, read_item(folder))]


def weights_of(path: str | Path) -> Path:
    """The file of a model folder's weights."""
    return weights_path(Path(path), read_item(Path(path)))


def read_training(path: str | Path) -> dict[str, Any] | None:
    """The story of a model's training, ``training.json``; None where the folder has none.

    Raises
    ------
    ModelError
        When the file is damaged, or of a later rsscale.
    """
    file = Path(path) / TRAINING
    if not file.is_file():
        return None
    try:
        training = read_json(file.read_bytes(), 4 * _MOST_BYTES)
    except DocumentError as error:
        raise ModelError(f"{file} is not JSON: {error}") from None
    except OSError as error:
        raise ModelError(f"{file} can't be read: {error.strerror}") from None
    if not isinstance(training, dict) or training.get("format") != TRAINING_FORMAT:
        form = training.get("format") if isinstance(training, dict) else type(training).__name__
        raise ModelError(
            f"{file} has the format {form!r}; expected {TRAINING_FORMAT}, as this rsscale writes it"
        )
    return training


def read_item(folder: Path) -> dict[str, Any]:
    """The contract of a model folder, ``item.json``, as it is.

    Raises
    ------
    ModelError
        When the folder or the file is not there, or is no STAC item.
    """
    path = folder / "item.json"
    if not folder.is_dir():
        raise ModelError(f"there is no model folder at {folder}; train one with: rsscale train")
    try:
        item = read_json(path.read_bytes(), _MOST_BYTES)
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no item.json; a model is a folder with item.json (STAC MLM) and weights"
        ) from None
    except DocumentError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from None
    return check_model_item(item, str(path))


def weights_path(folder: Path, item: Mapping[str, Any]) -> Path:
    """The file that the item's model asset names; a pickle is refused unread."""
    assets = item["assets"].values()
    hrefs = [a.get("href") for a in assets if "mlm:model" in a.get("roles", ())]
    if not hrefs:
        raise ModelError(f"{folder / 'item.json'} has no asset with the role 'mlm:model'")
    href = hrefs[0]
    if not isinstance(href, str) or not href or not href.isprintable() or len(href) > 1000:
        shown = repr(href)[:80]
        raise ModelError(
            f"{folder / 'item.json'} names its weights as {shown}; expected a file of the folder, "
            "such as ./model.safetensors"
        )
    path = folder / href
    artifact_of(str(path))
    if not _is_file(path):
        raise ModelError(f"{folder} has no {path.name}, which its item.json names as the weights")
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def files_digest(*paths: Path) -> str:
    """Hash of the content of files, in their order."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
