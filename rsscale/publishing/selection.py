"""What of a run is published as files: layers, periods and the pieces that they are cut into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rsscale.errors import RecipeError, nearest
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.publishing import stac
from rsscale.publishing.cog_files import CogLayer, cog_layers, value_ranges
from rsscale.publishing.pieces import Piece, whole
from rsscale.publishing.tables import PublishedObjects
from rsscale.publishing.target import Target
from rsscale.publishing.zarr_copy import shard_count


@dataclass(frozen=True)
class Selection:
    """What a publication has as files.

    Attributes
    ----------
    layers, periods : tuple of str
        By name; all where none is named.
    has_files : bool
        Whether layers become GeoTIFFs.
    cut : sequence of Piece
        The parts that each layer is cut into.
    """

    layers: tuple[str, ...]
    periods: tuple[str, ...]
    has_files: bool
    cut: Sequence[Piece]

    def check(self, finished: FinishedRun) -> None:
        """Refuse names that the run does not have."""
        names = [layer.name for step in finished.steps for layer in finished.layers(step)]
        spans = finished.all_spans
        for kind, wanted, known in (("layer", self.layers, names), ("period", self.periods, spans)):
            for name in wanted:
                if name not in known:
                    raise RecipeError(
                        f"there is no {kind} {name!r}; there are "
                        f"{', '.join(dict.fromkeys(known)) or 'none'}{nearest(name, known)}"
                    )
        of_objects = {span for step in finished.objects for span in finished.spans(step)}
        has_objects = bool(of_objects.intersection(self.periods) if self.periods else of_objects)
        if self.has_files and not has_objects and not self._named(finished):
            raise RecipeError(
                f"no layer {' or '.join(self.layers) or 'that is published'} has the period "
                f"{' or '.join(self.periods)}; name a layer and period that belong together"
            )

    def _named(self, finished: FinishedRun) -> list[tuple[str, str]]:
        """Layers with each of their periods, of those that are named."""
        return [
            (layer.name, span)
            for step in finished.steps
            for layer in finished.layers(step)
            for span in finished.spans(step)
            if (not self.layers or layer.name in self.layers)
            and (not self.periods or span in self.periods)
        ]

    def by_period(self, objects: Sequence[PublishedObjects]) -> dict[str, list[PublishedObjects]]:
        """Objects by period, of the periods that are named."""
        by_span: dict[str, list[PublishedObjects]] = {}
        for step in objects:
            for summary in step.summaries:
                if not self.periods or summary.span in self.periods:
                    by_span.setdefault(summary.span, []).append(step)
        return by_span

    def cog_layers(self, finished: FinishedRun, place: Target) -> list[CogLayer]:
        """The layers of each period that are named."""
        return cog_layers(finished, self.layers, self.periods, value_ranges(finished, place))

    def drafts(
        self,
        catalogue: stac.Catalogue,
        layers: Sequence[CogLayer],
        objects: Sequence[PublishedObjects],
    ) -> Iterator[tuple[stac.ItemDraft, Sequence[CogLayer]]]:
        """Items, each with the layers that are to be its files: all of a period and piece.

        Periods of objects have an item of the whole product, with its layers where these are whole.
        """
        of_periods = self.by_period(objects)
        by_span: dict[str, list[CogLayer]] = {}
        for layer in layers:
            by_span.setdefault(layer.span, []).append(layer)
        every = whole(catalogue.finished)
        for span in dict.fromkeys((*by_span, *of_periods)):
            cut = list(self.cut) if span in by_span else []
            of_span = by_span.get(span, []) if self.has_files else []
            for piece in cut:
                tail = f"-{piece.name}" if piece.name else ""
                yield stac.ItemDraft(f"{catalogue.id}-{span}{tail}", span, piece), of_span
            if span in of_periods and all(piece.name for piece in cut):
                yield stac.ItemDraft(f"{catalogue.id}-{span}", span, every), []

    def count(self, finished: FinishedRun) -> int:
        """Tiles and files, for the progress bar."""
        tiles = sum(shard_count(finished, step) for step in finished.steps)
        return tiles + len(self._named(finished)) * len(self.cut) * self.has_files
