"""What publishing holds in memory does not grow with the area."""

import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from formula_pass import allowed, formula_recipe

import rsscale as rs

PUBLISH = """
import resource, sys
import rsscale as rs
rs.publish(sys.argv[1], sys.argv[2], cogs=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def made(folder: Path, side: int) -> Path:
    """A run of a square of so many pixels."""
    folder.mkdir()
    square = shapely.box(700_000, 5_000_000 - side * 10, 700_000 + side * 10, 5_000_000)
    gpd.GeoDataFrame(geometry=[square], crs="EPSG:32631").to_file(folder / "area.gpkg")
    options = {"layers": ["classification", "confidence", "index"]}
    with allowed():
        rs.run(formula_recipe(folder, tile=1024, options=options), folder / "run", threads=2)
    return folder / "run"


@pytest.mark.long
def test_peak_of_four_times_the_area(tmp_path: Path) -> None:
    small, large = made(tmp_path / "small", 4096), made(tmp_path / "large", 8192)
    for cogs in ("whole", "tile"):
        peaks = []
        for run in (small, large):
            words = [sys.executable, "-c", PUBLISH, str(run), str(run.parent / cogs), cogs]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            peaks.append(int(done.stdout.split()[-1]))
        assert peaks[1] <= 1.15 * peaks[0], (cogs, peaks)
