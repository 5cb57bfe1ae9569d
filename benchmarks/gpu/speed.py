"""Speed of maps out of memory: against the bare network on what lies on the device already."""

from __future__ import annotations

from collections.abc import Iterator

import torch

import rsscale as rs
from benchmarks.gpu.models import image, model_of, on
from benchmarks.gpu.rows import Row, timed
from rsscale.geo.lattice import PixelBox
from rsscale.learn.accelerate import accelerate
from rsscale.learn.model import Model
from rsscale.network.batch import blank_batch
from rsscale.network.scores import class_scores

BATCH = 16
GOAL = 0.85
"""Share of the time that the network has to compute, when it is what limits."""


def speed_rows(device: str, quick: bool) -> Iterator[Row]:
    """Pixels a second and busy share; U-Nets should reach :data:`GOAL`, ``pixel`` is shown."""
    box = PixelBox(0, 0, 64, 64) if quick else PixelBox(0, 0, 4096, 4096)
    composite = image(box)
    unet = on(model_of("unet", quick), device)
    candidates = {"unet": unet, "pixel": on(model_of("pixel", quick), device)}
    if device != "cpu":
        candidates["unet bfloat16"] = accelerate(unet, precision="bfloat16")
    for name, model in candidates.items():
        _, whole = timed(lambda m=model: rs.predict(composite, m, batch=BATCH), device, 2)
        bare = _bare(model, box, device)
        pixels = box.shape[0] * box.shape[1]
        is_goal = name.startswith("unet") and device != "cpu" and not quick
        yield Row(
            f"speed {name}",
            bare / whole,
            0.0,
            "busy",
            (GOAL if is_goal else 0.0, 0.0),
            device_s=whole,
            note=f"{pixels / whole / 1e6:.1f} million px/s, bare {pixels / bare / 1e6:.1f}",
        )


def _bare(model: Model, box: PixelBox, device: str) -> float:
    """Seconds of the network alone, for as many batches, of one that is on the device already."""
    windows = sum(1 for _ in model.spec.lattice.cores(box))
    batches = -(-windows // BATCH)
    given = blank_batch(model.spec, BATCH, model.spec.lattice.window, torch.device(device))
    with torch.inference_mode():
        _, once = timed(lambda: [class_scores(model, given) for _ in range(batches)][-1], device, 2)
    return once
