"""What people see while they wait: rates that say something, and the time left."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from rsscale import progress


@pytest.mark.parametrize(
    ("a_second", "text"),
    [(12.34, "12.3/s"), (1.0, "1.0/s"), (0.04, "2.4/min"), (0.0009, "3.2/h"), (0.0, "0.0/h")],
)
def test_a_rate_is_a_number(a_second: float, text: str) -> None:
    assert progress.rate_text(a_second) == text


def test_the_time_left_is_shown_beside_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=True)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    progress.show_progress(True)
    with progress.progress("run", 64, "tiles") as bar:
        bar.advance(3)
        bar.note("read 41%, prepare 22%, infer 30%, write 7%; 4 in flight, and more " * 3)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "left" in shown
    assert "-:--:--" in shown or "0:00:" in shown.rpartition("left")[2]


def test_nothing_is_announced_when_progress_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_progress(False)
    try:
        progress.announce("one")
    finally:
        progress.show_progress(True)
    progress.announce("two")
    assert capsys.readouterr().err == "two\n"


def test_the_peak_of_a_run_outlives_a_command_that_does_nothing(tmp_path: Path) -> None:
    from formula_pass import allowed, formula_recipe

    import rsscale as rs
    from rsscale.store.run_folder import RunFolder

    with allowed():
        run = rs.run(formula_recipe(tmp_path, tile=512, periods=[2023]), tmp_path / "run")
        folder = RunFolder.at(tmp_path / "run")
        folder.write_state(folder.read_state() | {"peak_rss_bytes": 2**40})
        rs.resume(tmp_path / "run")
    assert run.state["peak_rss_bytes"] == 2**40
