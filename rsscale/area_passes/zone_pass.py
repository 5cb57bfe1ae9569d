"""What passes have in common that count by polygon: the polygons, their file, periods, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rsscale.area_passes.area_counts import WORKING_BYTES
from rsscale.area_passes.zones_file import zones_attachment
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import Recipe
from rsscale.reference.zones import Zones
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Cost, Pass, Source
from rsscale.steps.options import Options

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(repr=False, kw_only=True)
class ZonePass(Pass):
    """A pass that gives rows of each polygon of a file, for each period of what it reads.

    Attributes
    ----------
    options : Options
        Their ``zones`` is the path of the file.
    zones : Zones
    file : str
        Digest of the file.
    times : tuple of str
        Spans.
    """

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    options: Options
    zones: Zones
    file: str
    times: tuple[str, ...]

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The zones' file."""
        return [zones_attachment(options.zones, recipe)]

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """Options of the counting; :meth:`digest` has the zones."""
        return self.options.model_dump(exclude={"zones"}, exclude_none=True)

    def digest(self, span: str) -> str:
        """Hash of the zones' file."""
        del span
        return self.file

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: what is read, areas, a large zone."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * WORKING_BYTES))
