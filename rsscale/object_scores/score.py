"""Score predicted objects against true ones: the call of a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass
from rsscale.object_scores.average_precision import THRESHOLDS
from rsscale.object_scores.candidates import Candidates, overlapping, within_distance
from rsscale.object_scores.events import Events
from rsscale.object_scores.figures import GroupScores
from rsscale.object_scores.matching import Outcome, Rule, match, ranks
from rsscale.object_scores.object_classes import UNKNOWN, object_classes
from rsscale.object_scores.object_scores import ObjectScores
from rsscale.object_scores.places import (
    Groups,
    SizeRange,
    block_groups,
    image_groups,
    image_numbers,
    in_one_crs,
    inside,
    region_groups,
    size_ranges,
)
from rsscale.object_scores.resampling import Resampling
from rsscale.object_scores.scored_objects import ScoredObjects, scored_objects
from rsscale.object_scores.tallies import Tally
from rsscale.survey_estimators.intervals import CONFIDENCE
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

_PANOPTIC = 0.5
_MOST_RESAMPLES = 10_000


def score_objects(
    predicted: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    *,
    iou: float | Sequence[float] = (0.5,),
    distance: float | None = None,
    class_column: str | None = None,
    classes: Sequence[LandClass | str] | None = None,
    within: gpd.GeoDataFrame | shapely.Geometry | None = None,
    regions: gpd.GeoDataFrame | None = None,
    region_id: str | None = None,
    sizes: Sequence[float] | Literal["coco"] | None = None,
    resolution: float | None = None,
    image: str | None = None,
    score: str = "score",
    matching: Rule = "score",
    max_detections: int | None = None,
    block: float = 1000.0,
    resamples: int = 1000,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> ObjectScores:
    """Score predicted objects against true ones.

    Each predicted object is matched with at most one true object of its class: highest score
    first, it takes the one with the largest intersection over union that is still free, if that
    reaches the threshold. Definitions, formulas and sources are in ``docs/object-scores.md``.

    Parameters
    ----------
    predicted : GeoDataFrame
        Polygons, such as ``rs.Run(out).objects("ponds")``: with ``score`` (without it there is no
        average precision), ``name`` or ``class``.
    truth : GeoDataFrame
        Polygons, or points with ``distance``; brought into the CRS of the predictions.
    iou : float or sequence of float
        Thresholds of intersection over union for precision, recall and F1; above 0, to 1.
    distance : float, optional
        Metres. Where one side is points: objects match when their centres lie so near, or the
        polygon holds the point. 0 when omitted: it must hold the point.
    class_column : str, optional
        Of the truth: names or values of classes. All objects are of one class when omitted.
    classes : sequence of LandClass or str, optional
        All classes that predictions may have; those of both tables when omitted.
    within : GeoDataFrame or shapely geometry, optional
        Where the truth is complete. True objects count whose centre lies inside; a predicted
        object counts as right when it matches one of these, is left out when it matches a true
        object outside, and counts as false when it matches none and its centre lies inside.
    regions, region_id : GeoDataFrame and str, optional
        Polygons that get figures of their own, and the column that names them. An object belongs
        to the region that holds its centre, a matched one to that of the true object.
    sizes : sequence of float, or "coco", optional
        Borders in m² (px² of images) of ranges that get figures of their own, by the area of the
        true object, of a false one by its own; COCO's 32² and 96² pixels.
    resolution : float, optional
        Metres of a pixel, for COCO's sizes on a map.
    image : str, optional
        The column of images in both tables: only objects of one image are matched. Coordinates
        may then be pixels, without a CRS; images are the blocks of the intervals.
    score : str
        The column of the predictions' scores.
    matching : str
        ``"score"``, as COCO; ``"order"``, predictions as they are stored, as solaris.
    max_detections : int, optional
        Of an image and class the so many of highest score are taken; COCO's is 100.
    block : float
        Metres: objects in one square of this width are drawn together for the intervals.
    resamples : int
        0 for no intervals.
    confidence : float
    seed : int

    Returns
    -------
    ObjectScores

    Raises
    ------
    RecipeError
        When a table has no CRS, they lie apart, no class of the truth is known, scores are not
        finite, or an option is not possible.
    """
    thresholds = _thresholds(iou)
    _check_options(matching, max_detections, resamples, confidence, distance)
    pair, notes = _pair(predicted, truth, class_column, classes, image=image, score=score)
    pair = replace(pair, predicted=_best(pair.predicted, max_detections))
    matcher = _Matcher.of(pair, thresholds, _metres(pair, distance), matching)
    counts = tuple(inside(some, within, pair.crs) for some in pair.sides)
    blocks = (
        image_groups(pair.images, *pair.sides)
        if image is not None
        else block_groups(*pair.sides, block)
    )
    zones = None if regions is None else region_groups(*pair.sides, regions, region_id, pair.crs)
    ranges = _ranges(pair, sizes, resolution)
    resampling = Resampling(len(blocks.names), resamples, seed, confidence)
    whole = matcher.tally(counts, blocks, zones, resampling)
    by_size = {
        size.name: matcher.tally(pair.of_size(size, counts), blocks, None, resampling).scores()
        for size in ranges
    }
    if within is not None:
        notes.append(_left_out(*counts))
    if zones is not None:
        notes += _no_region(zones, whole)
    return ObjectScores(
        measure="distance" if pair.by_distance else "iou",
        rule=matching,
        thresholds=tuple(events.threshold for events in whole.at),
        overall=whole.scores(),
        classes={
            name: part.scores() for name, part in zip(pair.names, whole.by_class, strict=True)
        },
        predicted=len(pair.predicted),
        truth=len(pair.truth),
        blocks=len(blocks.names),
        block=None if image is not None else block,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        sizes=by_size,
        regions={} if zones is None else _by_region(whole, zones),
        notes=(*notes, *matcher.notes),
    )


@dataclass(frozen=True)
class _Pair:
    """Both tables, checked, in one CRS."""

    predicted: ScoredObjects
    truth: ScoredObjects
    names: tuple[str, ...]
    images: tuple[str, ...]
    crs: Any

    @property
    def sides(self) -> tuple[ScoredObjects, ScoredObjects]:
        return self.predicted, self.truth

    @property
    def by_distance(self) -> bool:
        """Whether objects match by the distance of their centres: one side is points."""
        return self.predicted.are_points or self.truth.are_points

    def of_size(
        self, size: SizeRange, counts: Sequence[npt.NDArray[np.bool_]]
    ) -> tuple[npt.NDArray[np.bool_], ...]:
        """Those that count and whose area lies in a range, of each side."""
        return tuple(
            count & size.holds(side.areas) for count, side in zip(counts, self.sides, strict=True)
        )


def _pair(
    predicted: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    class_column: str | None,
    classes: Sequence[LandClass | str] | None,
    *,
    image: str | None,
    score: str,
) -> tuple[_Pair, list[str]]:
    predicted, truth = in_one_crs(predicted, truth, has_images=image is not None)
    known = object_classes(predicted, truth, class_column, classes)
    images, of_predicted, of_truth = image_numbers(predicted, truth, image)
    detections, about = scored_objects(
        predicted, "predicted", classes=known.predicted, images=of_predicted, score=score
    )
    given, about_truth = scored_objects(truth, "true", classes=known.truth, images=of_truth)
    given = given.take(given.classes != UNKNOWN)
    given, twice = given.without_duplicates()
    notes = [*known.notes, *about, *about_truth, *twice]
    return _Pair(detections, given, known.names, images, predicted.crs), notes


@dataclass(frozen=True)
class _Matcher:
    """Matches the objects at each threshold that a figure needs."""

    pair: _Pair
    candidates: Candidates
    at: tuple[float, ...]
    distance: float | None
    rule: Rule
    rank: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls, pair: _Pair, thresholds: tuple[float, ...], distance: float | None, rule: Rule
    ) -> _Matcher:
        (predicted, truth), by_distance = pair.sides, pair.by_distance
        metres = distance or 0.0
        candidates = (
            within_distance(predicted, truth, metres)
            if by_distance
            else overlapping(predicted, truth, min(*thresholds, _PANOPTIC))
        )
        return cls(
            pair,
            candidates,
            (metres,) if by_distance else thresholds,
            metres if by_distance else None,
            rule,
            ranks(predicted, rule),
        )

    @property
    def notes(self) -> list[str]:
        """That panoptic quality is not defined where objects overlap, where they do."""
        if self.distance is not None or not len(self.candidates.predicted):
            return []
        above = self.candidates.closeness > _PANOPTIC
        sides = (self.candidates.predicted[above], self.candidates.truth[above])
        contested = max(int((np.bincount(side) > 1).sum()) if len(side) else 0 for side in sides)
        if not contested:
            return []
        note = (
            f"{counted(contested, 'object')} with several others that overlap by more than half: "
            "objects of one table lie on one another, where panoptic quality is defined for "
            "objects that do not"
        )
        return [note]

    def tally(
        self,
        counts: Sequence[npt.NDArray[np.bool_]],
        blocks: Groups,
        zones: Groups | None,
        resampling: Resampling,
    ) -> Tally:
        """The events of the objects that count."""

        def events(threshold: float, *, strict: bool = False) -> Events:
            outcome = self._outcome(threshold, counts, strict=strict)
            return Events.of(
                outcome,
                self.pair.predicted,
                self.pair.truth,
                rank=self.rank,
                blocks=blocks,
                regions=zones,
            )

        at = tuple(events(threshold) for threshold in self.at)
        has_scores = self.pair.predicted.scores is not None or not len(self.pair.predicted)
        curve: tuple[Events, ...] = ()
        if has_scores:
            curve = at if self.distance is not None else tuple(map(events, THRESHOLDS))
        panoptic = None if self.distance is not None else events(_PANOPTIC, strict=True)
        return Tally(at, curve, panoptic, resampling, len(self.pair.names))

    def _outcome(
        self, threshold: float, counts: Sequence[npt.NDArray[np.bool_]], *, strict: bool
    ) -> Outcome:
        outcome = match(
            self.candidates,
            self.rank,
            # All candidates of points are near enough.
            threshold if self.distance is None else -np.inf,
            rule=self.rule,
            counts_predicted=counts[0],
            counts_truth=counts[1],
            strict=strict,
        )
        return replace(outcome, threshold=threshold)


def _by_region(whole: Tally, zones: Groups) -> Mapping[str, GroupScores]:
    def scores(number: int) -> GroupScores:
        part = whole.pick(lambda events: events.regions == number)
        return part.scores(quick=True)

    return {name: scores(k) for k, name in enumerate(zones.names)}


def _metres(pair: _Pair, distance: float | None) -> float | None:
    """The distance, which polygons do not have."""
    if distance is not None and not pair.by_distance:
        raise RecipeError(
            "distance is for points, and both tables hold polygons, which are matched by iou"
        )
    return distance


def _ranges(
    pair: _Pair, sizes: Sequence[float] | Literal["coco"] | None, resolution: float | None
) -> Sequence[SizeRange]:
    """The ranges of sizes, which points do not have."""
    ranges = size_ranges(sizes, resolution, in_pixels=pair.crs is None)
    if ranges and pair.truth.are_points:
        raise RecipeError("sizes are areas of true objects, and the truth are points")
    return ranges


def _best(predicted: ScoredObjects, most: int | None) -> ScoredObjects:
    """Of each image and class the objects of highest score."""
    if most is None or not len(predicted):
        return predicted
    if predicted.scores is None:
        raise RecipeError("max_detections takes objects by score, and the predictions have none")
    kept = np.ones(len(predicted), bool)
    rank = ranks(predicted, "score")
    order = np.lexsort((rank, predicted.classes, predicted.images))
    group = np.stack([predicted.images, predicted.classes], axis=1)[order]
    starts = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]).any(axis=1)])
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    kept[order] = place < most
    return predicted.take(kept)


def _thresholds(iou: float | Sequence[float]) -> tuple[float, ...]:
    try:
        thresholds = (float(iou),) if isinstance(iou, int | float) else tuple(map(float, iou))
    except (TypeError, ValueError):
        thresholds = ()
    if not thresholds or not all(0 < value <= 1 for value in thresholds):
        raise RecipeError(f"iou is {iou!r}; expected thresholds above 0, up to 1, such as 0.5")
    return tuple(dict.fromkeys(thresholds))


def _check_options(
    matching: str,
    max_detections: int | None,
    resamples: int,
    confidence: float,
    distance: float | None,
) -> None:
    if matching not in ("score", "order"):
        raise RecipeError(f"matching is {matching!r}; expected 'score' or 'order'")
    if max_detections is not None and max_detections < 1:
        raise RecipeError(f"max_detections is {max_detections}; expected at least 1")
    if not 0 <= resamples <= _MOST_RESAMPLES:
        raise RecipeError(f"resamples is {resamples}; expected 0 to {_MOST_RESAMPLES:,}")
    if not 0 < confidence < 1:
        raise RecipeError(f"confidence is {confidence}; expected between 0 and 1, such as 0.95")
    if distance is not None and not 0 <= distance < np.inf:
        raise RecipeError(f"distance is {distance}; expected metres, 0 or more")


def _left_out(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> str:
    return (
        f"{int((~predicted).sum()):,} predicted and {int((~truth).sum()):,} true objects have "
        "their centre outside of the areas that count"
    )


def _no_region(zones: Groups, whole: Tally) -> list[str]:
    outside = int((whole.at[0].regions < 0).sum())
    if not outside:
        return []
    return [f"{outside:,} objects lie in none of the {len(zones.names):,} regions"]
