"""The models of a run, as its report names them: digest, what they take, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsscale.errors import RsscaleError
from rsscale.model.files import read_item, read_training
from rsscale.pictures.training_text import story_lines
from rsscale.runs.run import Run


@dataclass(frozen=True)
class ModelFacts:
    """What a report says of one model.

    Attributes
    ----------
    name, digest : str
        The digest is that of its files.
    used : tuple of str
        Steps and spans, ``"map 2023"``.
    lines : tuple of (str, str)
        Name and text of what its card says.
    """

    name: str
    digest: str
    used: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]


def models_of(run: Run, state: Mapping[str, Any]) -> list[ModelFacts]:
    """Of every model that the run keeps a copy of."""
    uses: dict[str, list[str]] = {}
    for step, spans in state["attachments"].items():
        for span, (kind, digest) in spans.items():
            if kind == "models":
                uses.setdefault(digest, []).append(f"{step} {span}")
    return [_facts(run, digest, tuple(used)) for digest, used in uses.items()]


def _facts(run: Run, digest: str, used: tuple[str, ...]) -> ModelFacts:
    try:
        folder = run.folder.model_path(digest)
        item, training = read_item(folder), read_training(folder)
        said = item["properties"]
    except (RsscaleError, OSError, KeyError) as error:
        return ModelFacts("a model", digest, used, (("damaged", str(error)),))
    lines = [("network", _network(said))]
    if training:
        lines += story_lines(training)
    elif isinstance(said.get("rsscale:training"), Mapping):
        lines += _trained(said["rsscale:training"])
    if said.get("license"):
        lines.append(("license", str(said["license"])))
    return ModelFacts(str(said.get("mlm:name", item.get("id", ""))), digest, used, tuple(lines))


def _network(said: Mapping[str, Any]) -> str:
    size = said.get("mlm:total_parameters")
    parameters = f", {size:,} parameters" if isinstance(size, int) else ""
    return (
        f"{said.get('mlm:architecture', 'unknown')} of {said.get('mlm:framework', '?')}{parameters}"
    )


def _trained(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the item itself says of the training, where the run has no training.json."""
    lines = [
        (name.replace("_", " "), f"{training[name]:.1%}")
        for name in ("accuracy", "balanced_accuracy")
        if isinstance(training.get(name), int | float)
    ]
    if isinstance(training.get("f1"), Mapping):
        by_class = (f"{name} {value:.2f}" for name, value in training["f1"].items()
                    if isinstance(value, int | float))  # fmt: skip
        lines.append(("F1", ", ".join(by_class)))
    for name, title in (("trained", "trained on"), ("tested", "measured on")):
        if isinstance(training.get(name), Mapping):
            total = sum(v for v in training[name].values() if isinstance(v, int | float))
            lines.append((title, f"{total:,} labelled pixels"))
    if training.get("basis"):
        lines.append(("basis", str(training["basis"])))
    lines += [("note", str(remark)) for remark in training.get("remarks", ())]
    return lines
