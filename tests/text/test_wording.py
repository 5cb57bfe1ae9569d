"""Numbers agree with what they count."""

from rsscale.text.wording import counted, date_range


def test_one_is_singular() -> None:
    assert counted(1, "feature") == "1 feature"
    assert counted(0, "feature") == "0 features"
    assert counted(1200, "box", "boxes") == "1,200 boxes"


def test_one_date_is_no_range() -> None:
    assert date_range("2002-04-16", "2002-04-16") == "2002-04-16"
    assert date_range("2002-04-16", "2002-07-21") == "2002-04-16 to 2002-07-21"
