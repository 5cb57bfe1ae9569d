"""Deep learning for remote sensing at country scale.

A STAC search becomes a lazy xarray cube, a torch model runs over each tile of a global grid,
and the predictions are written to Zarr, in this process or on a Dask cluster.

Everything public is here: ``import rsscale as rs``. Names are loaded when they are first
used, so that the import costs nothing and needs neither torch nor a cluster.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rsscale.errors import (
    AreaError,
    BandError,
    CatalogError,
    ItemError,
    ModelError,
    ReadError,
    RecipeError,
    RsscaleError,
    RunFolderError,
    TilesFailed,
)

if TYPE_CHECKING:
    from rsscale.data.area import read_area
    from rsscale.data.composite import composite
    from rsscale.data.load import load
    from rsscale.data.masks import mask
    from rsscale.data.mosaic import merge_days
    from rsscale.data.radiometry import to_reflectance
    from rsscale.data.sar import to_decibel
    from rsscale.data.scenes import newest_versions
    from rsscale.data.search import search
    from rsscale.demo.simulate import simulate
    from rsscale.grid import Grid
    from rsscale.learn.models import open_model
    from rsscale.maps.change import detect_change
    from rsscale.maps.predict import predict
    from rsscale.modelspec import LandClass, ModelInput, ModelSpec
    from rsscale.pipeline.assessment import assess
    from rsscale.pipeline.checking import verify
    from rsscale.pipeline.forecast import Plan, Prices, plan
    from rsscale.pipeline.preview import preview
    from rsscale.pipeline.run import Run, Watch, resume, run
    from rsscale.pipeline.training import train_recipe as train
    from rsscale.publish.quicklook import quicklook, rgb
    from rsscale.recipe import Recipe, read_recipe

__version__ = "0.1.0"

_WHERE = {
    "Grid": "rsscale.grid",
    "LandClass": "rsscale.modelspec",
    "ModelInput": "rsscale.modelspec",
    "ModelSpec": "rsscale.modelspec",
    "Plan": "rsscale.pipeline.forecast",
    "Prices": "rsscale.pipeline.forecast",
    "Recipe": "rsscale.recipe",
    "Run": "rsscale.pipeline.run",
    "Watch": "rsscale.pipeline.run",
    "assess": "rsscale.pipeline.assessment",
    "composite": "rsscale.data.composite",
    "detect_change": "rsscale.maps.change",
    "load": "rsscale.data.load",
    "mask": "rsscale.data.masks",
    "merge_days": "rsscale.data.mosaic",
    "newest_versions": "rsscale.data.scenes",
    "open_model": "rsscale.learn.models",
    "predict": "rsscale.maps.predict",
    "plan": "rsscale.pipeline.forecast",
    "preview": "rsscale.pipeline.preview",
    "quicklook": "rsscale.publish.quicklook",
    "read_area": "rsscale.data.area",
    "read_recipe": "rsscale.recipe",
    "resume": "rsscale.pipeline.run",
    "rgb": "rsscale.publish.quicklook",
    "run": "rsscale.pipeline.run",
    "search": "rsscale.data.search",
    "simulate": "rsscale.demo.simulate",
    "to_decibel": "rsscale.data.sar",
    "to_reflectance": "rsscale.data.radiometry",
    "train": "rsscale.pipeline.training:train_recipe",
    "verify": "rsscale.pipeline.checking",
}

__all__ = [
    "AreaError",
    "BandError",
    "CatalogError",
    "Grid",
    "ItemError",
    "LandClass",
    "ModelError",
    "ModelInput",
    "ModelSpec",
    "Plan",
    "Prices",
    "ReadError",
    "Recipe",
    "RecipeError",
    "RsscaleError",
    "Run",
    "RunFolderError",
    "TilesFailed",
    "Watch",
    "assess",
    "composite",
    "detect_change",
    "load",
    "mask",
    "merge_days",
    "newest_versions",
    "open_model",
    "plan",
    "predict",
    "preview",
    "quicklook",
    "read_area",
    "read_recipe",
    "resume",
    "rgb",
    "run",
    "search",
    "simulate",
    "to_decibel",
    "to_reflectance",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rsscale' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
