"""What people see while they wait: rates that say something, and the time left."""

import io
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

from rsscale.progress import bars as progress
from rsscale.text.wording import rate_text


@pytest.mark.parametrize(
    ("a_second", "text"),
    [(12.34, "12.3/s"), (1.0, "1.0/s"), (0.04, "2.4/min"), (0.0009, "3.2/h"), (0.0, "0.0/h")],
)
def test_a_rate_is_a_number(a_second: float, text: str) -> None:
    assert rate_text(a_second) == text


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


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def monotonic(self) -> float:
        """The time."""
        return self.now


def test_what_was_done_before_is_no_part_of_the_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    progress.show_progress(True)
    with progress.progress("train", 350, "steps") as bar:
        bar.keep(300)
        clock.now += 10
        bar.advance(20)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "train: 320/350 steps, 2.0/s, 10 s, 15 s left"
    assert last == first


def test_a_bar_of_a_terminal_takes_its_rate_from_what_is_done_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=True)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    progress.show_progress(True)
    with progress.progress("train", 350, "steps") as bar:
        bar.keep(300)
        clock.now += 10
        bar.advance(20)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "320/350" in shown
    assert "2.0/s" in shown


def test_nothing_is_announced_when_progress_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_progress(False)
    try:
        progress.announce("one")
    finally:
        progress.show_progress(True)
    progress.announce("two")
    assert capsys.readouterr().err == "two\n"


@pytest.fixture(scope="module")
def executed() -> NotebookNode:
    """A notebook with stages of every kind, run by a kernel."""
    from nbclient import NotebookClient

    cells = [
        """
import time, warnings
from rsscale.progress.bars import progress
for k in range(9):
    with progress("short", 2, "tiles") as bar:
        bar.advance(2)
with progress("outer", 4, "tiles") as bar:
    for k in range(4):
        with progress("inner", unit="items") as inner:
            inner.advance(3)
        bar.note("read <b>")
        bar.advance()
""",
        """
with progress("fails", 4, "tiles") as bar:
    bar.advance()
    raise KeyError("four")
""",
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, allow_errors=True).execute()
    return notebook


@pytest.mark.filterwarnings("default")  # of Jupyter's own machinery
def test_a_cell_of_a_notebook_has_one_display_and_no_warning(executed: NotebookNode) -> None:
    (shown,) = executed.cells[0].outputs
    assert shown.output_type == "display_data"
    html = shown.data["text/html"]
    assert html.count("<tr") == 2  # the last inner stage, and the outer one
    assert "4 of 4 tiles" in html
    assert "<script" not in html


@pytest.mark.filterwarnings("default")
def test_a_stage_of_a_notebook_that_fails_is_marked(executed: NotebookNode) -> None:
    shown, error = executed.cells[1].outputs
    assert error.ename == "KeyError"
    assert "#d7301f" in shown.data["text/html"]
    assert "1 of 4 tiles" in shown.data["text/html"]


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


def test_stages_name_the_part_of_the_work_that_they_are_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_QUIET_S", 0.0)
    progress.show_progress(True)
    for number in (1, 2):
        with progress.part_of_work(f"fold {number} of 2"), progress.progress("train", 1) as bar:
            bar.advance()
    with progress.progress("train", 1) as bar:
        bar.advance()
    stages = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert stages == ["train (fold 1 of 2)", "train (fold 2 of 2)", "train"]
