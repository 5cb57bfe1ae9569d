"""The package as a whole: what importing it costs, and that every public name is there."""

import subprocess
import sys

import pytest

import rsscale


def test_import_brings_no_heavy_library() -> None:
    code = (
        "import sys, rsscale; "
        "print([m for m in ('torch', 'distributed', 'rasterio', 'stackstac') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_can_be_used() -> None:
    for name in rsscale.__all__:
        assert getattr(rsscale, name).__doc__, name


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="predcit"):
        getattr(rsscale, "predcit")  # noqa: B009 -- what a typo does
