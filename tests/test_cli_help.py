"""Help of the command line: examples that can be read, groups, completion of words."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

import rsscale.cli
from rsscale.cli.application import app
from rsscale.cli.examples import EXAMPLES, GROUPS, group_of

ROOT: Any = typer.main.get_command(app)


def commands(command: Any = ROOT, words: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{words} {name}".strip())
    if not hasattr(command, "commands"):
        yield words, command


COMMANDS = dict(commands())


def test_every_command_has_one_to_three_examples_and_a_group() -> None:
    assert rsscale.cli.main is not None
    assert set(EXAMPLES) == set(COMMANDS)
    assert {len(lines) for lines in EXAMPLES.values()} <= {1, 2, 3}
    assert [words for words in COMMANDS if group_of(words.split()[0]) is None] == []
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(ROOT.commands)


@pytest.mark.parametrize("words", EXAMPLES)
def test_examples_are_read_by_their_command(words: str) -> None:
    for line in EXAMPLES[words]:
        command, _, _ = line.partition(" >")
        start = f"rsscale {words}"
        assert command.startswith(start)
        context = COMMANDS[words].make_context(words, shlex.split(command.removeprefix(start)))
        assert context.args == []


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_help_shows_the_examples(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rsscale.cli.main([*words.split(), "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for line in EXAMPLES[words]:
        assert line in shown


def test_the_help_has_the_groups_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rsscale.cli.main(["--help"])
    shown = capsys.readouterr().out
    places = [shown.index(f" {group} ─") for group in GROUPS]
    assert places == sorted(places)
    assert "─ Commands ─" not in shown


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("rsscale re", {"resume", "report", "recipe"}), ("rsscale run --cl", {"--cluster"})],
)
def test_words_are_completed_in_a_shell(typed: str, offered: set[str]) -> None:
    asked = {
        "_RSSCALE_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "rsscale"],
        env=os.environ | asked, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""
