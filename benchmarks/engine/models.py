"""The two models: one that costs nothing, so that all else shows, and one that costs a lot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engine.case import BANDS, CLASSES, HALO, MEAN, RESOLUTION, STD, STRIDE

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "two-layer": ("pixel", {"width": 32}),
    # Its scores depend on 51 px around a pixel: the halo of 64 px hides all seams.
    "unet": ("unet", {"width": 32, "depth": 4}),
}


def write_models(folder: Path) -> None:
    """Both, untrained, as folders ``model-NAME``."""
    import torch

    from rsscale.geo.lattice import Lattice
    from rsscale.learn.architectures import build
    from rsscale.learn.models import Model, save_model
    from rsscale.legend.classes import LandClass
    from rsscale.model.model_input import ModelInput
    from rsscale.model.spec import ModelSpec

    count = len(BANDS)
    for name, (architecture, hyperparameters) in MODELS.items():
        torch.manual_seed(0)
        spec = ModelSpec(
            name=name,
            inputs=(ModelInput("s2", BANDS, ("year",), (MEAN,) * count, (STD,) * count),),
            classes=tuple(
                LandClass(k + 1, f"class {k + 1}", f"#{k * 40:02x}8040") for k in range(CLASSES)
            ),
            lattice=Lattice(STRIDE, HALO),
            architecture=architecture,
            hyperparameters=hyperparameters,
            resolution=RESOLUTION,
        )
        module = build(architecture, spec.inputs, CLASSES, **hyperparameters).eval()
        _spread(module, count)
        save_model(Model(spec, module, torch.device("cpu")), folder / f"model-{name}")


def plain_module(folder: Path) -> Any:
    """The network as anybody would load it: no compiler, no memory format."""
    import json

    from safetensors.torch import load_file

    from rsscale.learn.architectures import build
    from rsscale.model.spec import ModelSpec

    item = json.loads((folder / "item.json").read_text())
    architecture, hyperparameters = MODELS[item["id"]]
    module = build(architecture, ModelSpec.from_item(item).inputs, CLASSES, **hyperparameters)
    module.load_state_dict(load_file(folder / "model.safetensors"))
    return module.eval()


def _spread(module: Any, channels: int) -> None:
    """Make all classes occur: random weights alone would nearly always choose the same one."""
    import torch

    images = torch.randn(1, channels, 256, 256)
    with torch.no_grad():
        scores = module(images)
        module.head.weight *= 2 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        module.head.bias -= module(images).mean(dim=(0, 2, 3))
