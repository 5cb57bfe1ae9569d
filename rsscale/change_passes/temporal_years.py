"""Classes of each year, given all years: the model is computed once, for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from rsscale.change.hidden_markov import best_path, marginals
from rsscale.change.temporal_layers import path_layers, path_names, percent, year_layers
from rsscale.change_passes.temporal_base import TemporalPass
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA, Layer, TileKey
from rsscale.steps.base import Block, Cost, Pass, Resources, Result, Setup, Source, Step


def steps_of_years(step: str, given: Mapping[str, Any], setup: Setup) -> list[Step]:
    """The path of all years, and the layers of each, which are parts of it."""
    years, classes = given["years"], given["classes"]
    path = PathPass(step=f"{step}-path", layers=path_layers(years), **given)
    by_year = {
        str(year): setup.source(path, path_names(year), at=path.spans()[0]) for year in years
    }
    each = YearsPass(
        step=f"{step}-years", layers=year_layers(classes), sources={"path": OfSpan(by_year)}
    )
    return [path, each]


@dataclass(frozen=True)
class OfSpan:
    """A source that is another one for each span.

    Attributes
    ----------
    sources : mapping of span to Source
    """

    sources: Mapping[str, Source]

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].read(box, key, resources)

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].digest(box, key)

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].inputs(box, key)

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """See :class:`~rsscale.steps.base.Source`."""
        return self.sources[key.span].cost(box, key)


@dataclass(repr=False, kw_only=True)
class PathPass(TemporalPass):
    """The class of each year by the most probable sequence, and how probable it is that year.

    Once for all years: each depends on all others, and year by year it would be the work of all
    years for each of them.
    """

    kind: ClassVar[str] = "temporal-model-path"

    def spans(self) -> Sequence[str]:
        """The first to the last year."""
        return (f"{self.years[0]}-{self.years[-1]}",)

    def run(self, block: Block) -> Result:
        """Compute one tile."""
        values = np.array([land_class.value for land_class in self.classes], np.uint8)
        layers = {layer.name: np.full(block.core.shape, NODATA, np.uint8) for layer in self.layers}
        chain = self.chain(block)
        for part, likelihood, seen in self.likelihoods(block):
            known = seen.any(axis=0)
            path, classes = best_path(likelihood, chain), marginals(likelihood, chain).classes
            for year, of_year, probability in zip(self.years, path, classes, strict=True):
                label, confidence = (layers[name].reshape(-1) for name in path_names(year))
                of_path = np.take_along_axis(probability, of_year[None], axis=0)[0]
                label[part][known] = values[of_year][known]
                confidence[part][known] = percent(of_path)[known]
        return Result(layers=block.dataset(self.layers, layers))


@dataclass(repr=False, kw_only=True)
class YearsPass(Pass):
    """Classes of each year, given all years: ``classification`` and ``confidence``."""

    kind: ClassVar[str] = "temporal-model-years"
    version: ClassVar[str] = "2"

    step: str
    sources: Mapping[str, OfSpan]
    layers: tuple[Layer, ...]

    def spans(self) -> Sequence[str]:
        """Each year."""
        return tuple(self.sources["path"].sources)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Setup) -> list[Step]:
        """Never by itself: see :func:`steps_of_years`."""
        raise NotImplementedError(f"{cls.kind} is a part of temporal-model")

    def parameters(self) -> Mapping[str, Any]:
        """None: the path decides."""
        return {}

    def run(self, block: Block) -> Result:
        """Take one tile of one year."""
        names = path_names(int(block.key.span))
        found = [block.inputs["path"][name].values[block.inside] for name in names]
        layers = dict(zip(("classification", "confidence"), found, strict=True))
        return Result(layers=block.dataset(self.layers, layers))
