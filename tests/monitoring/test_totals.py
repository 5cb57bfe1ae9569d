"""Facts of tiles fold as their pass declares, and nothing else of them is known."""

from typing import Any

import pytest

from rsscale.monitoring.summary import summary
from rsscale.monitoring.totals import COUNTED, StepTotals, in_order

FOLDS = {**COUNTED, "trees": "sum", "batch": "min", "hottest": "max"}


def entry(facts: dict[str, float], **seconds: float) -> dict[str, Any]:
    return {"step": "map", "facts": facts, "seconds": seconds}


def test_facts_fold_as_declared_and_one_that_is_left_out_does_not_count() -> None:
    totals = StepTotals(FOLDS, total=3)
    totals.add(entry({"pixels": 5, "trees": 2, "batch": 8, "hottest": -3.5}, read=1.0, infer=2.0))
    totals.add(entry({"pixels": 7, "batch": 4, "unknown": 9}, read=0.5, write=0.25))
    totals.add(entry({"pixels": 0, "trees": 1, "hottest": -7.0}))
    assert totals.done == 3
    assert totals.facts == {"pixels": 12, "trees": 3, "batch": 4, "hottest": -3.5}
    assert totals.to_dict(["a line"]) == {
        "tiles": {"total": 3, "done": 3},
        "facts": totals.facts,
        "stages": {"read": 1.5, "infer": 2.0, "write": 0.25},
        "lines": ["a line"],
    }


def test_stages_stand_in_the_order_of_the_work() -> None:
    mixed = {"write": 1.0, "infer": 2.0, "prepare": 3.0, "read": 4.0}
    assert list(in_order(mixed)) == ["read", "prepare", "infer", "write"]
    assert list(in_order({"compute": 1.0})) == ["compute"]


@pytest.mark.parametrize("waiting", [0, 3])
def test_a_summary_has_each_step_its_lines_and_where_it_lies(waiting: int) -> None:
    step = {"tiles": {"total": 2, "done": 2}, "facts": {"pixels": 10}, "layers": ["…"]}
    state = {
        "state": "failed",
        "tiles": {"total": 4, "done": 3, "failed": 1},
        "steps": {
            "map": step | {"store": "map", "lines": ["seams     few"]},
            "overviews": step | {"store": "map", "facts": {}},
            "areas": {"tiles": {"total": 1, "done": 0}, "gathered": "tables/areas/all/x.parquet"},
        },
        "seconds": 1.0,
        "peak_rss_bytes": 2**20,
        "stages": {"read": 1.0},
        "failed": [{"key": "map/2023/x1_y2", "error": "no such file"}],
        "waiting": waiting,
    }
    lines = summary(state, "out/").splitlines()
    assert "seams     few" in lines
    assert "failed map/2023/x1_y2: no such file" in lines
    assert "overviews 2 of 2 tiles" in lines
    assert "map       out/product.zarr" in lines
    assert "areas     out/tables/areas/all/x.parquet" in lines
    assert not any("overviews.zarr" in line for line in lines)
    assert any(line.startswith("waiting   3 tiles") for line in lines) == bool(waiting)
