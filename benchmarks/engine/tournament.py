"""Rounds in which every contender makes the map once, after each was tuned."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engine import processes
from benchmarks.engine.case import Case
from benchmarks.engine.contenders import Options
from benchmarks.engine.outputs import Agreement, Classes, compare, read_classes
from benchmarks.engine.variants import CONTENDERS, TORCHGEO, Contender, step_of

_TIMEOUT_S = 1800.0
_LIMIT = "limit"
TORCHGEO_PYTHON = "TORCHGEO_PYTHON"
"""Names the interpreter of an environment with torchgeo, which rsscale does not depend on."""


@dataclass
class Standing:
    """How a contender does.

    Attributes
    ----------
    name : str
    options : mapping
        Its best.
    tuning : list of (options, seconds or None, Agreement or None)
        All that was tried.
    seconds : list of float
        One a round; rounds are the same for all.
    agreement : Agreement
        The worst of all outputs.
    result : mapping
        The last run's counts and stages.
    peak_bytes : int
    failure : str
        Why it has no output.
    """

    name: str
    options: Options = field(default_factory=dict)
    tuning: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    agreement: Agreement | None = None
    result: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, float]] = field(default_factory=list)
    peak_bytes: int = 0
    failure: str = ""

    @property
    def ranked(self) -> bool:
        """Whether it made the right map each time."""
        return (
            not self.failure
            and bool(self.seconds)
            and (self.name == _LIMIT or (self.agreement is not None and self.agreement.passed))
        )

    def note(self, agreement: Agreement) -> None:
        """Keep the worst."""
        if self.agreement is None or agreement.inside < self.agreement.inside:
            self.agreement = agreement


def compete(case: Case, names: Sequence[str], repeats: int) -> dict[str, Standing]:
    """Tune all, then run the best of each in rounds."""
    standings = {name: tune(case, CONTENDERS[name]) for name in names}
    for number in range(repeats):
        for name, standing in standings.items():
            if standing.failure:
                continue
            print(f"  round {number + 1}/{repeats} {name}", file=sys.stderr, flush=True)
            try:
                result, classes = once(case, name, standing.options)
            except ChildFailedError as error:
                standing.failure = str(error)
                continue
            standing.seconds.append(result["seconds"])
            standing.result = result
            standing.peak_bytes = max(standing.peak_bytes, result["peak_bytes"])
            standing.stages.append(result.get("stages", {}))
            if name != _LIMIT:
                standing.note(compare(case, classes, step_of(standing.options)))
    return standings


def tune(case: Case, contender: Contender) -> Standing:
    """Each variant once; outputs of different chunks must be the same map."""
    standing = Standing(contender.name)
    variants = contender.fitting(min(case.shape))
    if len(variants) == 1:
        standing.options = variants[0]
        return standing
    best, first = float("inf"), None
    for options in variants:
        print(f"  tuning {contender.name} {dict(options)}", file=sys.stderr, flush=True)
        try:
            result, classes = once(case, contender.name, options)
        except ChildFailedError as error:
            standing.tuning.append({**options, "failure": str(error)})
            continue
        agreement = compare(case, classes, step_of(options), first)
        first = classes if first is None else first
        standing.tuning.append({**options, "seconds": result["seconds"], **agreement.to_dict()})
        standing.note(agreement)
        if agreement.passed and result["seconds"] < best:
            best, standing.options = result["seconds"], options
    if best == float("inf"):
        failures = {str(trial.get("failure", "another map")) for trial in standing.tuning}
        standing.failure = "; ".join(sorted(failures))
    return standing


class ChildFailedError(Exception):
    """A contender ended without a map."""


def once(case: Case, name: str, options: Options) -> tuple[dict[str, Any], Classes]:
    """One run in a process of its own."""
    out = case.path / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    case_file = case.path / "case.json"
    case.write(case_file)
    script = [sys.executable, "-m", "benchmarks.engine.child", str(case_file), name]
    if name == TORCHGEO:
        python = os.environ.get(TORCHGEO_PYTHON, sys.executable)
        script = [python, "-m", "benchmarks.engine.torchgeo_loop", str(case_file)]
    command = [*script, json.dumps(dict(options)), str(out)]
    ended = processes.run(command, case.path / "child.log", timeout=_TIMEOUT_S)
    if ended.code != 0:
        last = ended.output.strip().splitlines()[-1:] or ["no output"]
        if "No module named 'torchgeo'" in last[0]:
            raise ChildFailedError(
                f"not installed; {TORCHGEO_PYTHON} may name a Python that has it"
            )
        raise ChildFailedError(f"exit code {ended.code}: {last[0][:300]}")
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    result["peak_bytes"] = ended.peak_bytes
    return result, np.empty(0, np.uint8) if name == _LIMIT else read_classes(out)


def ratio(over: Standing, under: Standing) -> tuple[float, float, float]:
    """How many times as fast, within rounds: median, lowest, highest."""
    pairs = [b / a for a, b in zip(over.seconds, under.seconds, strict=False)]
    return median(pairs), min(pairs), max(pairs)
