"""Numbers agree with what they count."""

from rsscale.wording import counted


def test_one_is_singular() -> None:
    assert counted(1, "feature") == "1 feature"
    assert counted(0, "feature") == "0 features"
    assert counted(1200, "box", "boxes") == "1,200 boxes"
