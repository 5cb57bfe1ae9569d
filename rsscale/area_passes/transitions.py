"""What became what, as a pass: a code of each pixel, and hectares of each pair of classes.

A tile gives the layer, and rows of what it holds: of all of it, and in each of some polygons. A
gather sums them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rsscale.area_passes.area_counts import WORKING_BYTES, AreaCounts, rows_schema, table_of
from rsscale.area_passes.zones_file import open_zones, zones_attachment
from rsscale.area_passes.zones_total import ZonesTotal
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, nearest
from rsscale.geo.pixel_area import plane_area
from rsscale.layers import NODATA, Layer
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.legend.transitions import CODE_NODATA, classes_of, codes, transition_attributes
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import Recipe, Reference, StepRecipe
from rsscale.reference.zones import Zones
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Block, Cost, Fold, Pass, Result, Setup, Source, Step
from rsscale.steps.options import Options, check_in_order

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

WHOLE = ""
"""The zone of rows that are of the whole area."""
MAPPED = "mapped"
"""How hectares are made: pixels of the map, counted; not adjusted by a reference sample."""


class TransitionsOptions(Options):
    """``{kind: transitions, of: STEP, from:, to:, zones: FILE, id: COLUMN, method:, area:}``.

    ``from`` and ``to`` are two periods of a map; a step of change has layers ``from`` and ``to``
    of its own, and needs none. ``zones`` and ``id`` are as those of a step ``zones``.
    """

    from_: int | None = Field(default=None, alias="from")
    """The earlier period of a map; a step of change needs none."""
    to: int | None = None
    """The later period of a map."""
    zones: str | None = None
    """Count by polygons of this vector file; over the whole area when left out."""
    zones_layer: str | None = None
    """The layer of `zones`, where the file has several."""
    id: str | None = None
    """The column of the polygons' names."""
    method: Literal["centre", "coverage"] = "centre"
    """A pixel counts where its centre lies (`centre`), or by the share of it that a polygon covers
    (`coverage`)."""
    area: Literal["ellipsoid", "projected"] = "ellipsoid"
    """Hectares on the `ellipsoid`, or as the CRS has them (`projected`)."""

    @model_validator(mode="after")
    def _fit(self) -> TransitionsOptions:
        if self.from_ is not None and self.to is not None:
            check_in_order(self.from_, self.to)
        if (self.zones is None) != (self.id is None):
            raise ValueError("has one of 'zones' and 'id'; the file and its column go together")
        return self


@dataclass(repr=False, kw_only=True)
class TransitionsPass(Pass):
    """The layer ``transition``, and rows of each tile, whose ``class`` is a code of it.

    Attributes
    ----------
    before, after : (str, str)
        Source and layer of the class before, and of the one after.
    classes : tuple of LandClass
    span : str
        ``"2023-2024"``.
    counts : AreaCounts
    zones : Zones, optional
    file : str
        Digest of the zones' file.
    """

    kind: ClassVar[str] = "transitions"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = TransitionsOptions
    facts: ClassVar[Mapping[str, Fold]] = {"compared": "sum", "changed": "sum"}

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    schema: pa.Schema
    before: tuple[str, str]
    after: tuple[str, str]
    classes: tuple[LandClass, ...]
    span: str
    counts: AreaCounts
    zones: Zones | None
    file: str

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The zones' file, where there is one."""
        if options.zones is None:
            return []
        return [zones_attachment(options.zones, recipe)]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The pass of the step's name, and the gather ``<step>-hectares``."""
        reference = recipe.only_reference("step whose classes are compared")
        is_plane = options.area == "projected"
        counts = AreaCounts(
            setup.grid,
            options.method,
            plane_area(setup.grid, setup.extent()) if is_plane else None,
        )
        zones, file = _zones(step, options, setup)
        given = _pair(options, setup, reference)
        attributes = {"long_name": "class before and class after"}
        attributes |= transition_attributes(given["classes"])
        layer = Layer("transition", "uint16", CODE_NODATA, overview="mode", attributes=attributes)
        tiles = cls(
            step=step,
            layers=(layer,),
            schema=rows_schema(),
            counts=counts,
            zones=zones,
            file=file,
            **given,
        )
        total = TransitionsTotal(
            step=f"{step}-hectares",
            of=step,
            schema=_schema(),
            zones=(WHOLE, *(zones.ids if zones else ())),
            times=(tiles.span,),
            nodata=CODE_NODATA,
            names={land_class.value: land_class.name for land_class in tiles.classes},
            units=counts.units,
        )
        return [tiles, total]

    def spans(self) -> Sequence[str]:
        """The one pair of periods."""
        return (self.span,)

    def parameters(self) -> Mapping[str, Any]:
        """Classes, and how pixels are counted; :meth:`digest` has the zones."""
        return {
            "classes": [[land_class.value, land_class.name] for land_class in self.classes],
            "layers": [self.before[1], self.after[1]],
            "method": self.counts.method,
            "plane": self.counts.plane,
            "zones": self.zones.ids if self.zones else (),
        }

    def digest(self, span: str) -> str:
        """Hash of the zones' file."""
        del span
        return self.file

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: layers, areas, the largest zone."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * (WORKING_BYTES + 8)))

    def run(self, block: Block) -> Result:
        """Code and count the pixels of a tile."""
        before, after = (self._classes(block, *where) for where in (self.before, self.after))
        code = codes(before, after)
        rows = [(WHOLE, self.span, *row) for row in self.counts.of_area(code, block)]
        if self.zones is not None:
            for zone, zone_rows in self.counts.by_zone(code, self.zones, block):
                rows += [(zone, self.span, *row) for row in zone_rows]
        known = (code != CODE_NODATA) & block.where
        facts = {
            "compared": int(known.sum()),
            "changed": int((known & (before != after)).sum()),
        }
        return Result(
            layers=block.dataset(self.layers, {"transition": code}),
            table=table_of(rows, self.schema),
            facts=facts,
        )

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels with a class before and after that have another one."""
        if not facts.get("compared"):
            return []
        share = facts.get("changed", 0) / facts["compared"]
        return [f"became another class   {share:.2%} of the pixels that have both"]

    def _classes(self, block: Block, source: str, layer: str) -> npt.NDArray[np.uint8]:
        values: npt.NDArray[np.uint8] = block.inputs[source][layer].to_numpy()
        return values[block.inside]


@dataclass(kw_only=True)
class TransitionsTotal(ZonesTotal):
    """Hectares from each class to each other, over the whole area and in each zone.

    Rows ``zone`` (empty: the whole area), ``span``, ``from``, ``to``, ``from_name``, ``to_name``,
    ``pixels``, ``hectares`` and ``estimator``, which is ``mapped``: pixels of the map are counted,
    with its errors. Pairs that are nowhere have no row. Pixels without a class before or after
    have the row 255 to 255, so that the rows of a zone add up to it.
    """

    kind: ClassVar[str] = "transitions"

    def named(self, total: pd.DataFrame) -> pd.DataFrame:
        """Codes as pairs of classes, with their names."""
        before, after = classes_of(total["class"])
        named = total.assign(
            **{"from": before, "to": after},
            from_name=before.map(self.names).astype(object),
            to_name=after.map(self.names).astype(object),
            estimator=MAPPED,
        )
        return named.drop(columns=["class"])


def _pair(options: TransitionsOptions, setup: Setup, reference: Reference) -> dict[str, Any]:
    """Sources, layers, classes and span of the two classes of a pixel."""
    layers = {layer.name: layer for layer in setup.layers(reference)}
    periods = (options.from_, options.to)
    if periods != (None, None) and {"from", "to"} <= layers.keys() - {"classification"}:
        raise RecipeError(
            "has 'from' or 'to', and the step of change has its own periods; leave them out, or "
            "name a map with 'of'"
        )
    if None not in periods:
        _check_classes("classification", layers)
        names = ("classification",)
        ends = {
            "before": setup.source(reference, names, at=str(options.from_)),
            "after": setup.source(reference, names, at=str(options.to)),
        }
        places = {"before": ("before", names[0]), "after": ("after", names[0])}
        span, layer = f"{options.from_}-{options.to}", layers["classification"]
    elif periods == (None, None) and {"from", "to"} <= layers.keys():
        _check_classes("from", layers)
        _check_classes("to", layers)
        spans = setup.spans(reference)
        if len(spans) != 1:
            raise RecipeError(f"the step is of {', '.join(spans)}; expected one pair of periods")
        ends = {"change": setup.source(reference, ("from", "to"))}
        places = {"before": ("change", "from"), "after": ("change", "to")}
        (span,), layer = spans, layers["to"]
    else:
        raise RecipeError(
            "needs the layers 'from' and 'to' of a step of change, or 'from' and 'to', two periods "
            f"of a map; the step has the layers {', '.join(layers)}"
        )
    classes = classes_from_attributes(layer.attributes)
    return {"sources": ends, "classes": classes, "span": span, **places}


def _check_classes(name: str, layers: Mapping[str, Layer]) -> None:
    if name not in layers:
        raise RecipeError(
            f"the step has no layer {name!r}; it has {', '.join(layers)}{nearest(name, layers)}"
        )
    layer = layers[name]
    if layer.dtype != "uint8" or layer.nodata != NODATA or layer.is_scaled or layer.axis:
        raise RecipeError(
            f"layer {name!r} is {layer.dtype} with nodata {layer.nodata:g}; classes are uint8 with "
            "nodata 255"
        )


def _zones(step: str, options: TransitionsOptions, setup: Setup) -> tuple[Zones | None, str]:
    """The polygons, and the digest of their file."""
    if options.zones is None or options.id is None:
        return None, ""
    return open_zones(step, options.zones, options.id, options.zones_layer, setup)


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = [("from_name", pa.string()), ("to_name", pa.string())]
    numbers = [("pixels", pa.float64()), ("hectares", pa.float64())]
    return pa.schema(
        [
            ("zone", pa.string()), ("span", pa.string()), ("from", pa.int32()), ("to", pa.int32()),
            *texts, *numbers, ("estimator", pa.string()),
        ]
    )  # fmt: skip
