"""Train a detector on images in memory, with boxes or outlines of their objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from rsscale.cluster.machine import training_device
from rsscale.errors import RecipeError
from rsscale.geo.ground import pixel_width
from rsscale.geo.lattice import Lattice
from rsscale.learn.model import Model
from rsscale.learners.base import Balance, Design, Loop, Task
from rsscale.learners.chips import InputBands
from rsscale.legend.classes import LandClass
from rsscale.object_scenes.crops import CropRules
from rsscale.object_scenes.image_scenes import ImageObjects, image_scenes, read_image
from rsscale.object_training.detector_kind import object_output
from rsscale.object_training.experiment import run_object_experiment
from rsscale.object_training.learner import ObjectNetwork
from rsscale.object_training.report import ObjectReport
from rsscale.training.split import SplitPlan

if TYPE_CHECKING:
    import geopandas as gpd


def train_objects(
    images: xr.DataArray | Sequence[xr.DataArray],
    objects: gpd.GeoDataFrame | Sequence[gpd.GeoDataFrame],
    *,
    column: str | None = None,
    classes: Sequence[LandClass] | None = None,
    within: gpd.GeoDataFrame | None = None,
    name: str = "objects",
    architecture: str = "fasterrcnn",
    hyperparameters: Mapping[str, Any] | None = None,
    block: int | None = None,
    crop: int = 256,
    visible: float = 0.5,
    zoom: float = 1.0,
    steps: int = 500,
    batch: int = 4,
    learning_rate: float = 1e-3,
    balance: Balance = "sampling",
    patience: int = 0,
    stride: int = 512,
    halo: int = 64,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    device: str | None = None,
) -> tuple[Model, ObjectReport]:
    """Train a detector on images and the objects in them.

    Each image is cut into places, squares of ``block`` pixels. Crops show nothing of the places
    that the validation and the test are of; in them it is measured.

    Parameters
    ----------
    images : DataArray or sequence of DataArray
        ``(band, y, x)`` or ``(y, x)``, in memory or lazy (it is computed). Its attribute
        ``nodata`` (or ``_FillValue``) and NaN are what was not seen. With a CRS and coordinates
        (``rioxarray.open_rasterio``, ``rs.load``), or without, as a photograph.
    objects : GeoDataFrame or sequence of GeoDataFrame
        Boxes or outlines of every object of each image, in any CRS; for an image without a CRS in
        its pixels: ``x`` counts columns from the left edge, ``y`` rows from the upper one.
    column : str, optional
        Of the class; without it all are of one class, ``object``.
    classes : sequence of LandClass, optional
        Values, names and colours; as the labels have them when left out.
    within : GeoDataFrame, optional
        Polygons in which every object is there; the whole images when left out. An object that is
        not labelled is learnt as background.
    name : str
        Of the model.
    architecture : str
        ``"fasterrcnn"``, ``"retinanet"``, ``"fcos"`` or ``"maskrcnn"``, which learns outlines.
    hyperparameters : mapping, optional
        Of :mod:`rsscale.detectors.detectors`, such as ``anchors`` and ``backbone``.
    block : int, optional
        Width of a place, px; a fifth of the smaller side of the smallest image when left out.
    crop : int
        Width of the crops that are learnt from, px, at most that of the images.
    visible : float
        Share of an object's area from which on a crop that cuts it keeps it, cut; what is less is
        masked, and no background. Of an object wider than the halo any part is kept that reaches
        as far as the halo from each edge that cuts it: windows see such parts of it alone.
    zoom : float
        Crops are enlarged by up to so much, for objects that are larger on the map than any that is
        labelled; 1 for not.
    steps, batch : int
        Optimiser steps, and crops in each.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    balance : str
        ``"sampling"``: rare classes are drawn more often than they occur.
    patience : int
        Validations in a row (there are ten) without a better one that end the training; 0 for
        never.
    stride, halo : int
        Windows that the model will be run on: width of the core, and context, px.
    validation, test : float
        Shares of the objects, in whole places: the validation chooses the weights and the score
        threshold, the test measures.
    seed : int
        The same seed gives the same weights on the same machine and threads.
    device : str, optional
        The GPU if there is one, when omitted.

    Returns
    -------
    (Model, ObjectReport)
        ``rs.save_model(model, folder, report=report)`` keeps both. The model's input is ``image``,
        of the bands that the image names (``"1"``, ``"2"`` and so on where it names none), at the
        one time ``image``: ``rs.detect(image.assign_coords(window="image"), model)``.

    Raises
    ------
    RecipeError
        When images and objects don't fit each other, a box is inverted, or there is no object to
        learn from.
    ModelError
        When the architecture or a hyperparameter is not known.
    MissingExtraError
        When torchvision is not installed.

    Examples
    --------
    >>> photo = rioxarray.open_rasterio("trees.tif")             # doctest: +SKIP
    >>> trees = geopandas.read_parquet("trees.parquet")          # doctest: +SKIP
    >>> model, report = rs.train_objects(photo, trees, column="class")  # doctest: +SKIP
    """
    pairs = _pairs(images, objects)
    first = pairs[0].image
    others = [p.image.bands for p in pairs if p.image.bands != first.bands]
    if others:
        raise RecipeError(
            f"images have the bands {list(first.bands)} and {list(others[0])}; expected the same "
            "bands of all"
        )
    scenes, legend = image_scenes(pairs, column, classes, within, block)
    geobox = first.geobox
    design = Design(
        name,
        architecture,
        hyperparameters or {},
        Lattice(stride, halo),
        None if geobox is None else pixel_width(geobox),
        training_device(device),
    )
    learner = ObjectNetwork(
        design,
        Task(classes=legend),
        (InputBands("image", first.bands, ("image",)),),
        object_output(architecture),
        Loop(steps, batch, learning_rate, balance, patience=patience, seed=seed),
        CropRules(crop, visible, balance, halo=halo, zoom=zoom),
    )
    learner.check()
    return run_object_experiment(learner, scenes, SplitPlan(validation, test, 0, seed))


def _pairs(
    images: xr.DataArray | Sequence[xr.DataArray],
    objects: gpd.GeoDataFrame | Sequence[gpd.GeoDataFrame],
) -> list[ImageObjects]:
    """Each image with its objects."""
    import geopandas as gpd

    some = [images] if isinstance(images, xr.DataArray) else list(images)
    frames = [objects] if isinstance(objects, gpd.GeoDataFrame) else list(objects)
    if not some or len(some) != len(frames):
        raise RecipeError(
            f"{len(some)} images have {len(frames)} tables of objects; expected one for each"
        )
    return [
        ImageObjects(read_image(image), frame, f"image {number}" if len(some) > 1 else "the image")
        for number, (image, frame) in enumerate(zip(some, frames, strict=True))
    ]
