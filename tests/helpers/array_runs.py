"""Processes of an array, as their own commands, on a run whose map is a formula."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from fault_cluster import PATIENCE, Command, environment, until
from fault_runs import Ended, Run
from formula_pass import SMALL, formula_recipe

STEPS = {
    "overviews": {"kind": "overviews", "of": "map"},
    "change": {"kind": "post-classification", "of": "map", "from": 2023, "to": 2024},
    "sieve": {"kind": "minimum-mapping-unit", "of": "map", "hectares": 0.1},
}


def write_recipe(folder: Path, **changes: object) -> Path:
    """A recipe of several steps with barriers, and a gather."""
    settings = {"tile": 128, "shape": SMALL, "periods": [2023, 2024], "steps": STEPS, **changes}
    recipe = formula_recipe(folder, **settings)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@dataclass
class Array:
    """Processes that share one run folder."""

    run: Run
    commands: list[Command] = field(default_factory=list)

    @classmethod
    def at(cls, path: Path, recipe: Path) -> Array:
        return cls(Run(path, recipe, logs=path.parent / "logs"))

    def start(self, *words: str, **env: str) -> Command:
        """One more process."""
        verb = [str(self.run.recipe), "--out", str(self.run.path), "--device", "cpu"]
        line = ["-m", "rsscale", "--quiet", "run", *verb, "--threads", "1", "--cluster", "array"]
        name = f"{self.run.path.name}-array-{len(self.commands)}.log"
        log = (self.run.logs or self.run.path.parent) / name
        command = Command.start([*line, *words], log, environment(**env))
        self.commands.append(command)
        return command

    def wait(self, *commands: Command, within: float = PATIENCE) -> list[Ended]:
        """Wait for processes, for all when none is named."""
        chosen = commands or tuple(self.commands)
        until(lambda: not any(one.alive for one in chosen), "the array to end", within, 0.1)
        return [Ended(one.process.wait(), one.out, one.err) for one in chosen]

    def kill_at_random(self, processes: int, chance: random.Random, most: int) -> int:
        """Kill processes one after another and start others for them; how often, until done."""
        kills = 0
        working = [self.start() for _ in range(processes)]
        while any(one.alive for one in working) and not self.is_done:
            time.sleep(chance.uniform(0.3, 2.5))
            victim = chance.choice(working)
            if not victim.alive or kills == most or self.is_done:
                continue
            victim.signal(signal.SIGKILL)
            victim.process.wait()
            kills += 1
            working[working.index(victim)] = self.start()
        return kills

    def tiles_of(self, command: Command) -> list[str]:
        """Tiles that a process has told of."""
        mine = f"-{command.process.pid}-"
        return [one["tile"] for one in self.run.events("tile") if mine in one["worker"]]

    @property
    def is_done(self) -> bool:
        try:
            return self.run.state["state"] == "done"
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        for command in [*self.commands, *self.run.commands]:
            command.end()
