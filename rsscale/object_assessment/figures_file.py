"""``objects-accuracy.json``: the figures of each step and span, and what they were made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rsscale.errors import RunFolderError
from rsscale.object_assessment.objects_of_step import AssessedStep
from rsscale.object_scores.object_scores import ObjectScores
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import span_versions, step_version

FILE = "objects-accuracy.json"
FORMAT = 1


def keep_figures(
    folder: RunFolder, objects: AssessedStep, scores: ObjectScores, files: Mapping[str, Any]
) -> None:
    """Write the figures of a step and span; those of other steps of the run are kept.

    The file has ``format`` and, by step and span, ``steps``: what
    :meth:`ObjectScores.to_dict` gives, with ``version`` (of what the step has stored) and
    ``versions`` (of this span: figures of another one are out of date), ``assessed`` (UTC), and
    ``files``, the path and SHA-256 of each.
    """
    content = read_figures(folder) or {"format": FORMAT, "steps": {}}
    figures = scores.to_dict()
    del figures["format"]
    step = objects.step.step
    steps = {
        name: kept for name, kept in content["steps"].items() if name in objects.plan.setup.steps
    }
    content["steps"] = steps
    steps.setdefault(step, {})[objects.span] = {
        **figures,
        "version": step_version(folder, step),
        "versions": {objects.span: span_versions(folder, step).get(objects.span)},
        "assessed": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": dict(files),
    }
    write_json(folder.storage, FILE, content)


def read_figures(folder: RunFolder) -> dict[str, Any] | None:
    """The content of the file; None where nothing was measured.

    Raises
    ------
    RunFolderError
        When the file is damaged, or of another format.
    """
    try:
        content = json.loads(folder.storage.read(FILE))
    except FileNotFoundError:
        return None
    except ValueError:
        raise RunFolderError(f"{folder.url}/{FILE} is no JSON; remove it") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunFolderError(f"{folder.url}/{FILE} is not of format {FORMAT}; remove it")
    return content
