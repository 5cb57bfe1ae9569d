"""What must be so besides the checks of ``.ci/check``: files of the project that go together."""

import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_ci_runs_the_command_of_the_readme_then_the_extended_suite() -> None:
    command, extended = (ROOT / ".ci/run").read_text().splitlines()[-2:]
    command, then = command[:-3], command[-3:]
    assert command in (ROOT / "README.md").read_text().splitlines()
    assert ".ci/check" in command
    assert (then, extended.strip()) == (" &&", "bash .ci/extended")


def test_every_suite_that_is_left_out_has_a_script() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    told = dict(marker.split(": ", 1) for marker in options["markers"])
    left_out = [name for name, text in told.items() if f"chosen by -m {name}" in text]
    assert left_out == ["extended", "long", "clusters", "faults"]
    for name in left_out:
        script = (ROOT / ".ci" / name).read_text()
        assert f"-m {name}" in script or f'-m "{name} ' in script, name


def test_the_checks_before_a_commit_are_these_and_need_no_network() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert [hook["entry"] for hook in hooks] == [
        ".venv/bin/ruff check",
        ".venv/bin/ruff format",
        ".venv/bin/mypy",
        ".venv/bin/lint-imports",
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
    hosts = ["pypi" + ".org", "python" + "hosted", "npmjs" + ".", "anaconda" + ".org"]
    words = [word for host in hosts for word in ("-e", host)]
    named = subprocess.run(
        ["git", "grep", "--files-with-matches", "--fixed-strings", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert named.stdout.splitlines() == []


def test_every_bound_has_its_reason_or_is_a_plain_floor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(">=" in requirement for requirement in project["dependencies"])
