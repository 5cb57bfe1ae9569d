"""The checks that a contribution must pass besides its tests: the same here and in CI."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


CHECKS = ["ruff check", "ruff format --check", "mypy", "lint-imports"]


@pytest.mark.parametrize("command", CHECKS)
def test_check_is_clean(command: str) -> None:
    name, *arguments = command.split()
    done = subprocess.run(
        [BIN / name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_checks_before_a_commit_are_these_and_need_no_network() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert [hook["entry"] for hook in hooks] == [
        f".venv/bin/{command.removesuffix(' --check')}" for command in CHECKS
    ]


def test_no_tracked_file_names_a_package_index() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "requirements.lock" in files
    assert "uv.lock" not in files
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert "index-url" not in lock


def test_every_bound_has_its_reason_or_is_a_plain_floor() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(">=" in requirement for requirement in project["dependencies"])
