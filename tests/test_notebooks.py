"""Notebooks run as they are, without a warning, and are stored without outputs."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# How many pictures each shows. The others take a minute or more: `.ci/long` runs them.
PICTURES = {
    "change": 1,
    "cluster": 1,
    "first_map": 2,
    "official_numbers": 1,
    "own_labels": 3,
    "own_model": 1,
    "objects": 2,
    "time_series": 2,
}
QUICK = {"first_map", "own_model"}
# Of libraries, not of what a cell does; they come and go with the threads that a machine has.
OF_LIBRARIES = re.compile(r"sklearn.utils.parallel|NotGeoreferencedWarning|resource_tracker")
# What a reader must find in the outputs.
SAID = {
    "change": r"temporal model: [\d.]+% of the land changed",
    "cluster": r"rsscale resume [^']*out",
    "official_numbers": r"hectares",
    "own_labels": r"Comparison\(",
    "objects": r"predicted objects, \d+ true",
    "own_model": r"100.00% of [\d,]+ pixels are the same",
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_are_stripped(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs"), cell.source
        assert cell.get("execution_count") is None


def test_tables_name_every_notebook_and_its_question() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(PICTURES)
    for page, prefix in (("notebooks/README.md", ""), ("docs/notebooks.md", "../notebooks/")):
        text = (ROOT / page).read_text()
        for path in NOTEBOOKS:
            first, last = (nbformat.read(path, as_version=4).cells[k].source for k in (0, -1))
            title = first.splitlines()[0].removeprefix("# ")
            question = re.search(r"\*\*(.+?)\*\*", first, re.DOTALL)
            assert question is not None, path
            assert f" | [{title}]({prefix}{path.name}) | {question.group(1)} |" in text, (
                page,
                title,
            )
            assert "## Where to go on" in last, path
            for target in re.findall(r"\]\(([^)#]+)", last):
                assert (path.parent / target).exists(), (path, target)


@pytest.mark.filterwarnings("default")  # of Jupyter's own machinery, not of the cells
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=getattr(pytest.mark, mark))
        for path in NOTEBOOKS
        for mark in ["extended" if path.stem in QUICK else "long"]
    ],
)
def test_every_cell_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the kernel: its files go there
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing is fetched
    notebook = nbformat.read(path, as_version=4)
    if path.stem in QUICK:
        for cell in notebook.cells:
            cell.source = re.sub(r'"steps": \d+', '"steps": 10', cell.source)
    folder = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1800, resources=folder).execute()  # a cell: it does not hang
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [one for one in outputs if "image/png" in one.get("data", {})]
    assert len(pictures) == PICTURES[path.stem]
    texts = [one.get("text", "") + one.get("data", {}).get("text/plain", "") for one in outputs]
    lines = [line for text in texts for line in text.splitlines() if "Warning: " in line]
    assert [line for line in lines if not OF_LIBRARIES.search(line)] == []
    if path.stem in SAID:
        assert re.search(SAID[path.stem], "\n".join(texts))
    nbformat.write(notebook, tmp_path / "executed.ipynb")
