"""Objects in the report: counts of each step and span, and their scores where there are some."""

import html
import json
import re
import shutil
from pathlib import Path

import rsscale as rs


def test_counts_and_scores_are_on_the_page(object_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(object_run, copy)
    figure = {"value": 0.9, "se": 0.01, "low": 0.88, "high": 0.92}
    overall = {
        "truth": 100,
        "thresholds": {"0.5": {"precision": figure, "recall": figure,
                               "f1": {"value": None, "why": "none"}}},
        "PQ": figure,
    }  # fmt: skip
    scores = {"measure": "iou", "objects": {"predicted": 120, "truth": 100}, "overall": overall}
    document = {"format": 1, "steps": {"ponds": {"2023": scores}}}
    (copy / "objects-accuracy.json").write_text(json.dumps(document))
    page = html.unescape(rs.report(copy).read_text())
    ponds = rs.read_objects(object_run, "ponds", span=2023)
    section = page.partition('<section id="objects"')[2].partition("</section>")[0]
    table = section.partition("ponds, 2023")[2].partition("</table>")[0]
    for name in ("pond", "shed"):
        one = ponds[ponds["name"] == name]
        cells = re.findall(
            rf'{name}</th><td class="n">(.*?)</td>.*?<td class="n">(\d+)</td></tr>', table
        )
        assert cells == [(str(len(one)), str(one["cut"].sum()))]
    assert "at IoU 0.5 precision 0.900 (0.880 to 0.920)" in section
    assert "F1 not estimable; PQ 0.900" in section
    assert "never, 2024: no objects" in section
    assert 'href="#objects"' in page
