"""Deep learning for remote sensing at country scale.

A STAC search becomes a lazy xarray cube, a torch model runs over each tile of a global grid,
and the predictions are written to Zarr, in this process or on a Dask cluster.

Everything public is here: ``import rsscale as rs``. Names are loaded when they are first
used, so that the import costs nothing and needs neither torch nor a cluster.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

from rsscale.errors import (
    AreaError,
    BandError,
    CatalogError,
    FunctionError,
    ItemError,
    MissingExtraError,
    ModelError,
    ReadError,
    RecipeError,
    RsscaleError,
    RunFolderError,
    TilesFailedError,
)
from rsscale.importing.when_imported import when_imported

if TYPE_CHECKING:
    from rsscale.applying.apply import apply
    from rsscale.catalog.search import search
    from rsscale.change.post_classification import detect_change
    from rsscale.comparison.compare import compare, compare_table
    from rsscale.comparison.comparison import Comparison
    from rsscale.composites.composite import composite
    from rsscale.composites.merge_days import merge_days
    from rsscale.composites.series import series
    from rsscale.coregistration.coregister import Coregistered, coregister
    from rsscale.cube.load import load
    from rsscale.cube.masks import mask
    from rsscale.cube.sar import to_decibel
    from rsscale.detection.detect import detect
    from rsscale.diagnosis.check import Diagnosis
    from rsscale.diagnosis.diagnose import diagnose
    from rsscale.estimation.area_estimates import AreaEstimates
    from rsscale.estimation.from_table import estimate
    from rsscale.formats.netcdf import to_netcdf
    from rsscale.geo.area import read_area
    from rsscale.geo.grid import Grid
    from rsscale.items.radiometry import to_reflectance
    from rsscale.items.versions import newest_versions
    from rsscale.layers import Axis, Layer
    from rsscale.learn.model import Model
    from rsscale.learn.model_folder import ModelFolder
    from rsscale.learn.models import open_model, save_model
    from rsscale.legend.classes import LandClass
    from rsscale.legend.legend import Legend
    from rsscale.model.model_input import ModelInput
    from rsscale.model.outputs import (
        ClassOutput,
        ConformalSets,
        EmbeddingOutput,
        ObjectOutput,
        ResultLayout,
        ValueOutput,
    )
    from rsscale.model.spec import ModelSpec
    from rsscale.object_assessment.assess_objects import assess_objects
    from rsscale.object_files.export_objects import export_objects
    from rsscale.object_files.read_objects import read_objects
    from rsscale.object_scores.object_scores import ObjectScores
    from rsscale.object_scores.score import score_objects
    from rsscale.object_training.train_objects import train_objects
    from rsscale.pictures.object_picture import plot_objects
    from rsscale.pictures.quicklook import quicklook, rgb
    from rsscale.pipeline.assessment import assess
    from rsscale.pipeline.estimate import plan
    from rsscale.pipeline.estimate_table import Plan, Prices
    from rsscale.pipeline.exporting import export
    from rsscale.pipeline.preview import preview
    from rsscale.pipeline.training import train_recipe as train
    from rsscale.points.read_table import read_series_table
    from rsscale.points.series_table import SeriesInput, SeriesTable
    from rsscale.polygons.in_memory import polygonize
    from rsscale.prediction.predict import predict
    from rsscale.publishing.publish import Publication, publish
    from rsscale.quality.check import check_quality
    from rsscale.quality.gates_file import Gates
    from rsscale.recipe import Recipe, read_recipe
    from rsscale.reporting.transition_files import write_transitions
    from rsscale.reporting.transition_matrix import TransitionMatrix, transition_matrix
    from rsscale.run_report.write import report
    from rsscale.runs.changes import Changes, changes
    from rsscale.runs.run import Run, RunOptions, resume, run
    from rsscale.runs.verification import verify
    from rsscale.sample_assessment.assess_sample import assess_sample
    from rsscale.sample_design.design_sample import design_sample
    from rsscale.sample_design.sample_design import SampleDesign
    from rsscale.simulation.simulate import simulate
    from rsscale.spectral_change.in_memory import detect_spectral_change
    from rsscale.training.train_table import train_table
    from rsscale.viewer.view import Viewer, view

__version__ = "0.1.0"

when_imported("xarray", "rsscale.pipeline.accessor")  # its .rs

_WHERE = {
    "Axis": "rsscale.layers",
    "Layer": "rsscale.layers",
    "Grid": "rsscale.geo.grid",
    "LandClass": "rsscale.legend.classes",
    "Legend": "rsscale.legend.legend",
    "Model": "rsscale.learn.model",
    "ModelFolder": "rsscale.learn.model_folder",
    "ModelInput": "rsscale.model.model_input",
    "ModelSpec": "rsscale.model.spec",
    "Plan": "rsscale.pipeline.estimate_table",
    "Prices": "rsscale.pipeline.estimate_table",
    "Publication": "rsscale.publishing.publish",
    "Recipe": "rsscale.recipe",
    "Run": "rsscale.runs.run",
    "RunOptions": "rsscale.runs.run",
    "Changes": "rsscale.runs.changes",
    "ClassOutput": "rsscale.model.outputs",
    "ConformalSets": "rsscale.model.outputs",
    "EmbeddingOutput": "rsscale.model.outputs",
    "ObjectOutput": "rsscale.model.outputs",
    "ResultLayout": "rsscale.model.outputs",
    "ValueOutput": "rsscale.model.outputs",
    "SeriesInput": "rsscale.points.series_table",
    "SeriesTable": "rsscale.points.series_table",
    "changes": "rsscale.runs.changes",
    "check_quality": "rsscale.quality.check",
    "Gates": "rsscale.quality.gates_file",
    "compare": "rsscale.comparison.compare",
    "compare_table": "rsscale.comparison.compare",
    "Comparison": "rsscale.comparison.comparison",
    "AreaEstimates": "rsscale.estimation.area_estimates",
    "apply": "rsscale.applying.apply",
    "assess": "rsscale.pipeline.assessment",
    "assess_sample": "rsscale.sample_assessment.assess_sample",
    "estimate": "rsscale.estimation.from_table",
    "composite": "rsscale.composites.composite",
    "coregister": "rsscale.coregistration.coregister",
    "Coregistered": "rsscale.coregistration.coregister",
    "design_sample": "rsscale.sample_design.design_sample",
    "SampleDesign": "rsscale.sample_design.sample_design",
    "detect": "rsscale.detection.detect",
    "detect_change": "rsscale.change.post_classification",
    "diagnose": "rsscale.diagnosis.diagnose",
    "Diagnosis": "rsscale.diagnosis.check",
    "detect_spectral_change": "rsscale.spectral_change.in_memory",
    "export": "rsscale.pipeline.exporting",
    "export_objects": "rsscale.object_files.export_objects",
    "read_objects": "rsscale.object_files.read_objects",
    "load": "rsscale.cube.load",
    "mask": "rsscale.cube.masks",
    "merge_days": "rsscale.composites.merge_days",
    "newest_versions": "rsscale.items.versions",
    "open_model": "rsscale.learn.models",
    "polygonize": "rsscale.polygons.in_memory",
    "predict": "rsscale.prediction.predict",
    "plan": "rsscale.pipeline.estimate",
    "preview": "rsscale.pipeline.preview",
    "plot_objects": "rsscale.pictures.object_picture",
    "publish": "rsscale.publishing.publish",
    "quicklook": "rsscale.pictures.quicklook",
    "read_area": "rsscale.geo.area",
    "read_recipe": "rsscale.recipe",
    "read_series_table": "rsscale.points.read_table",
    "report": "rsscale.run_report.write",
    "resume": "rsscale.runs.run",
    "rgb": "rsscale.pictures.quicklook",
    "run": "rsscale.runs.run",
    "assess_objects": "rsscale.object_assessment.assess_objects",
    "ObjectScores": "rsscale.object_scores.object_scores",
    "score_objects": "rsscale.object_scores.score",
    "save_model": "rsscale.learn.models",
    "search": "rsscale.catalog.search",
    "series": "rsscale.composites.series",
    "simulate": "rsscale.simulation.simulate",
    "to_decibel": "rsscale.cube.sar",
    "to_netcdf": "rsscale.formats.netcdf",
    "to_reflectance": "rsscale.items.radiometry",
    "train": "rsscale.pipeline.training:train_recipe",
    "train_objects": "rsscale.object_training.train_objects",
    "train_table": "rsscale.training.train_table",
    "transition_matrix": "rsscale.reporting.transition_matrix",
    "TransitionMatrix": "rsscale.reporting.transition_matrix",
    "verify": "rsscale.runs.verification",
    "view": "rsscale.viewer.view",
    "Viewer": "rsscale.viewer.view",
    "write_transitions": "rsscale.reporting.transition_files",
}

__all__ = [
    "AreaError",
    "AreaEstimates",
    "Axis",
    "BandError",
    "CatalogError",
    "Changes",
    "ClassOutput",
    "Comparison",
    "ConformalSets",
    "Coregistered",
    "Diagnosis",
    "EmbeddingOutput",
    "FunctionError",
    "Gates",
    "Grid",
    "ItemError",
    "LandClass",
    "Layer",
    "Legend",
    "MissingExtraError",
    "Model",
    "ModelError",
    "ModelFolder",
    "ModelInput",
    "ModelSpec",
    "ObjectOutput",
    "ObjectScores",
    "Plan",
    "Prices",
    "Publication",
    "ReadError",
    "Recipe",
    "RecipeError",
    "ResultLayout",
    "RsscaleError",
    "Run",
    "RunFolderError",
    "RunOptions",
    "SampleDesign",
    "SeriesInput",
    "SeriesTable",
    "TilesFailedError",
    "TransitionMatrix",
    "ValueOutput",
    "Viewer",
    "apply",
    "assess",
    "assess_objects",
    "assess_sample",
    "changes",
    "check_quality",
    "compare",
    "compare_table",
    "composite",
    "coregister",
    "design_sample",
    "detect",
    "detect_change",
    "detect_spectral_change",
    "diagnose",
    "estimate",
    "export",
    "export_objects",
    "load",
    "mask",
    "merge_days",
    "newest_versions",
    "open_model",
    "plan",
    "plot_objects",
    "polygonize",
    "predict",
    "preview",
    "publish",
    "quicklook",
    "read_area",
    "read_objects",
    "read_recipe",
    "read_series_table",
    "report",
    "resume",
    "rgb",
    "run",
    "save_model",
    "score_objects",
    "search",
    "series",
    "simulate",
    "to_decibel",
    "to_netcdf",
    "to_reflectance",
    "train",
    "train_objects",
    "train_table",
    "transition_matrix",
    "verify",
    "view",
    "write_transitions",
]


_RENAMED = {"TilesFailed": "TilesFailedError", "Watch": "RunOptions"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(
            f"rsscale.{name} is called rsscale.{_RENAMED[name]} now",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(sys.modules[__name__], _RENAMED[name])
    if name not in _WHERE:
        raise AttributeError(f"module 'rsscale' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
