"""The example of docs/object-scores.md runs, and what it asserts is so."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "object-scores.md"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(block, {})  # noqa: S102 -- our own page
    assert "IoU 0.75" in capsys.readouterr().out
