"""What is printed: ratios with their spread, and whether a target is met."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.engine.case import Case
from benchmarks.engine.limit import strict, total
from benchmarks.engine.tournament import Standing, ratio

_GOALS = {
    # model: [(number, against, at least)]
    "two-layer": [
        (2, "limit", 0.85),
        (10, "stackstac, tuned", 7.0),
        (10, "odc-stac, tuned", 3.5),
    ],
    "unet": [
        (1, "bare torch", 1.0),
        (1, "limit", 0.92),
        (10, "stackstac, tuned", 2.0),
        (10, "odc-stac, tuned", 1.8),
    ],
}


def show(case: Case, standings: Mapping[str, Standing]) -> dict[str, Any]:
    """Print one model's table; the same as numbers."""
    best = fastest_rsscale(standings)
    rows = [_row(case, standing, standings, best) for standing in standings.values()]
    print(f"\n{case.model}, {case.shape[0]} x {case.shape[1]} px, {case.threads} threads")
    head = ("contender", "Mpx/s", "x bare torch", "rsscale is x", "same class", "at lines", "seam",
            "tasks", "MiB", "at its best")  # fmt: skip
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    shares = stage_shares(standings)
    for name, share in shares.items():
        text = ", ".join(f"{stage} {value:.0%}" for stage, value in share.items())
        print(f"  {name}: {text}")
    goals = _goals(case.model, standings, best)
    for goal in goals:
        print("  " + goal_line(goal))
    return {"model": case.model, "rows": rows, "stages": shares, "targets": goals}


def goal_line(goal: Mapping[str, Any]) -> str:
    """One target and whether it is met."""
    verdict = "met" if goal["met"] else "not met"
    return f"target {goal['target']}: {goal['what']}: {goal['found']} ({goal['goal']}): {verdict}"


def fastest_rsscale(standings: Mapping[str, Standing]) -> Standing | None:
    """Of the ways to start it."""
    own = [s for name, s in standings.items() if name.startswith("rsscale") and s.ranked]
    return min(own, key=lambda s: median(s.seconds)) if own else None


def stage_shares(standings: Mapping[str, Standing]) -> dict[str, dict[str, float]]:
    """Shares of the stages of the limit and of rsscale's own runs."""
    shares = {}
    for name, standing in standings.items():
        stages = [s for s in standing.stages if s]
        if not stages:
            continue
        middle = {key: median(s[key] for s in stages) for key in stages[0]}
        whole = total(middle) if name == "limit" else median(standing.seconds)
        shares[name] = {key: value / whole for key, value in middle.items()}
    return shares


def strict_limit(standings: Mapping[str, Standing]) -> Standing | None:
    """The limit by whoever reads and infers fastest, as a contender."""
    own = standings.get("limit")
    if own is None or not own.stages:
        return None
    return Standing("strict limit", seconds=[strict(stages) for stages in own.stages])


def _row(
    case: Case, standing: Standing, standings: Mapping[str, Standing], best: Standing | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": standing.name, "options": dict(standing.options)}
    row |= {"failure": standing.failure, "ranked": standing.ranked, "seconds": standing.seconds}
    row |= {"peak_bytes": standing.peak_bytes, "tuning": standing.tuning, **standing.result}
    row["seconds"] = standing.seconds
    if standing.agreement is not None:
        row["agreement"] = standing.agreement.to_dict()
    if standing.seconds:
        row["mpx_per_s"] = case.pixels / 1e6 / median(standing.seconds)
        bare = standings.get("bare torch")
        if bare is not None and bare.seconds:
            row["over_bare"] = ratio(standing, bare)
        if best is not None:
            row["rsscale_over"] = ratio(best, standing)
    return row


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    agreement = row.get("agreement", {})
    rate = f"{row['mpx_per_s']:.2f}" if "mpx_per_s" in row else "-"
    remark = row["failure"] or ", ".join(f"{k} {v}" for k, v in row["options"].items())
    if not row["failure"] and not row["ranked"]:
        remark = f"NOT RANKED, another map; {remark}"
    return (
        row["contender"],
        rate,
        _spread(row.get("over_bare")),
        _spread(row.get("rsscale_over")),
        *(f"{agreement[k]:.6f}" if agreement else "-" for k in ("inside", "lines", "seam")),
        str(row.get("tasks") or "-"),
        f"{row['peak_bytes'] / 2**20:.0f}" if row["peak_bytes"] else "-",
        remark[:100],
    )


def _spread(seconds: tuple[float, float, float] | None) -> str:
    return "-" if seconds is None else f"{seconds[0]:.2f} ({seconds[1]:.2f}-{seconds[2]:.2f})"


def _goals(
    model: str, standings: Mapping[str, Standing], best: Standing | None
) -> list[dict[str, Any]]:
    against = dict(standings)
    limit = strict_limit(standings)
    goals = list(_GOALS[model])
    if limit is not None:
        against["strict limit"] = limit
        goals += [(n, "strict limit", least) for n, name, least in goals if name == "limit"]
    results = []
    for number, name, least in goals:
        other = against.get(name)
        if best is None or other is None or not other.seconds:
            continue
        measured = ratio(best, other)
        results.append(
            {
                "target": number,
                "what": f"{model} against {name}",
                "found": f"{_spread(measured)} x",
                "goal": f">= {least}",
                "met": measured[0] >= least,
                "ratio": measured,
            }
        )
    return results
