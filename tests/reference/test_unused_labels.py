"""Counts of labels that are not used: sums, lines and records."""

import json

from rsscale.reference.unused_labels import BLANK, Reason, Unit, UnusedLabels

SOME = UnusedLabels.of(["pond", "field", "pond"], Reason.TOO_SMALL) + UnusedLabels.of_pixels(
    {"pond": 1200, "shed": 0}, Reason.MASKED
)


def test_equal_counts_are_equal_in_any_order() -> None:
    pixels = UnusedLabels.of_pixels({"pond": 1200}, Reason.MASKED)
    assert pixels + UnusedLabels.of(["field", "pond", "pond"], Reason.TOO_SMALL) == SOME
    assert list(SOME.counts) == sorted(SOME.counts, key=lambda key: key[0])
    assert SOME + UnusedLabels() == SOME
    assert (SOME + SOME).counts["pond", Reason.MASKED, Unit.PIXELS] == 2400
    assert not UnusedLabels()


def test_lines_say_how_many_of_which_class_and_why() -> None:
    first, second, third = SOME.lines()
    assert first.startswith("1 feature of 'field': too small")
    assert second.startswith("2 features of 'pond': too small")
    assert third.startswith("1,200 labelled pixels of 'pond': masked")
    assert str(SOME.of_class("field")) == first
    blank = UnusedLabels.of([BLANK] * 3, Reason.BLANK)
    assert blank.lines() == ["3 features without a class: the cell of the class is empty"]
    raster = UnusedLabels.of_pixels({"cloud": 1}, Reason.IGNORED, Unit.RASTER_PIXELS)
    assert raster.lines() == ["1 pixel of the raster of 'cloud': listed in train.ignore"]


def test_a_record_comes_back() -> None:
    record = json.loads(json.dumps(SOME.to_dict()))
    assert record == {
        "field": {"too_small": {"features": 1}},
        "pond": {"too_small": {"features": 2}, "masked": {"pixels": 1200}},
    }
    assert UnusedLabels.from_dict(record) == SOME


def test_reasons_are_distinct() -> None:
    assert len({reason.key for reason in Reason}) == len(Reason)
