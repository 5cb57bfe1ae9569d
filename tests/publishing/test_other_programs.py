"""Programs of others open a publication: GDAL, QGIS and R, as Debian has them, where they are."""

import json
import shutil
import subprocess
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from formula_pass import CLASSES
from PIL import Image

import rsscale as rs

# The system's own Python, for which QGIS is built.
PYTHON = "/usr/bin/python3"
RENDER = """
import os, sys
from qgis.core import QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "map")
print(layer.isValid(), layer.crs().authid(), layer.renderer().type(), flush=True)
if layer.renderer().type() == "paletted":
    for entry in layer.renderer().classes():
        print(int(entry.value), entry.color.name(), entry.label, flush=True)
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setDestinationCrs(layer.crs())
settings.setExtent(layer.extent())
settings.setOutputSize(QSize(layer.width(), layer.height()))
settings.setBackgroundColor(QColor("#fefefe"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(sys.argv[2])
os._exit(0)  # QGIS of Debian 12 falls over its own feet at the end
"""
OBJECTS = """
import os, sys
from qgis.core import QgsApplication, QgsVectorLayer

application = QgsApplication([], False)
application.initQgis()
layer = QgsVectorLayer(sys.argv[1], "objects", "ogr")
print(layer.isValid(), layer.crs().authid(), layer.featureCount(), layer.renderer().type())
for one in layer.renderer().categories():
    print(one.value(), one.label(), one.symbol().symbolLayer(0).strokeColor().name())
sys.stdout.flush()
os._exit(0)
"""
R = """
suppressPackageStartupMessages(library(terra))
map <- rast(commandArgs(TRUE)[1])
write.csv(freq(map), row.names = FALSE)
cat(crs(map, describe = TRUE)$code, names(map), "\\n")
"""


def run(*words: str, **env: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.extended
def test_xarray_and_rioxarray(published: Path) -> None:
    product = xr.open_zarr(published / "product.zarr")
    assert product.classification.dtype == np.uint8
    assert product.classification.rio.crs.to_epsg() == 32631
    with rioxarray.open_rasterio(published / "cogs/classification_2023.tif") as file:
        product = product.sel(x=file.x, y=file.y)  # of whole tiles; the file is cut to the area
        np.testing.assert_array_equal(file[0], product.classification.sel(time="2023")[0])
        assert file.rio.nodata == 255
    with rioxarray.open_rasterio(
        published / "cogs/temperature_2023.tif", masked=True, mask_and_scale=True
    ) as file:
        wanted = product.temperature.sel(time="2023")[0]
        np.testing.assert_allclose(file[0], wanted, atol=1e-5)  # float32
    assert gpd.read_parquet(published / "tables/communes.parquet").geometry.is_valid.all()


@pytest.mark.long
def test_gdal(published: Path, tmp_path: Path) -> None:
    if shutil.which("gdalinfo", path="/usr/bin") is None:
        pytest.skip("GDAL's programs are not installed (gdal-bin)")
    path = str(published / "cogs/classification_2023.tif")
    found = json.loads(run("/usr/bin/gdalinfo", "-json", path))
    (band,) = found["bands"]
    assert found["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert (band["description"], band["noDataValue"]) == ("classification", 255)
    assert [band["categories"][c.value] for c in CLASSES] == [c.name for c in CLASSES]
    assert found["rat"]["fieldDefn"][1]["name"] == "Class"
    assert len(band["overviews"]) >= 2
    run("/usr/bin/gdal_translate", "-q", "-outsize", "25%", "0", path, str(tmp_path / "small.tif"))
    with rasterio.open(tmp_path / "small.tif") as file, rasterio.open(path) as whole:
        assert set(np.unique(file.read())) <= set(np.unique(whole.read()))


@pytest.mark.long
@pytest.mark.parametrize("name", ["classification_2023", "change_2022-2023", "temperature_2023"])
def test_qgis_draws_with_the_style_beside_the_file(
    published: Path, tmp_path: Path, name: str
) -> None:
    has_qgis = (
        Path(PYTHON).exists()
        and not subprocess.run(
            [PYTHON, "-c", "import qgis.core"], capture_output=True, check=False
        ).returncode
    )
    if not has_qgis:
        pytest.skip("QGIS is not installed (qgis, python3-qgis)")
    path, picture = published / f"cogs/{name}.tif", tmp_path / "map.png"
    (tmp_path / "render.py").write_text(RENDER)
    said = run(
        PYTHON, str(tmp_path / "render.py"), str(path), str(picture),
        QT_QPA_PLATFORM="offscreen", HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path),
    ).splitlines()  # fmt: skip
    kind = "singlebandpseudocolor" if name.startswith("temp") else "paletted"
    assert said[0] == f"True EPSG:32631 {kind}"
    drawn = np.asarray(Image.open(picture).convert("RGB"))
    with rasterio.open(path) as file:
        values = file.read(1)
        colours = file.colormap(1) if kind == "paletted" else {}
        nodata = file.nodata
    assert (drawn[values == nodata] == 0xFE).all()
    for value in np.unique(values[values != nodata]) if colours else ():
        assert (drawn[values == value] == colours[value][:3]).all()
    if name == "classification_2023":
        assert said[1:] == [f"{c.value} {c.color} {c.name}" for c in CLASSES]
    if not colours:  # much is lighter than little
        low, high = np.percentile(values[values != nodata], [5, 95])
        light = drawn.astype(float) @ [0.2126, 0.7152, 0.0722]
        valid = values != nodata
        assert light[valid & (values > high)].mean() > light[valid & (values < low)].mean() + 50


@pytest.mark.long
def test_r(published: Path, tmp_path: Path) -> None:
    if shutil.which("Rscript", path="/usr/bin") is None:
        pytest.skip("R is not installed (r-cran-terra)")
    (tmp_path / "read.R").write_text(R)
    path = published / "cogs/classification_2023.tif"
    *rows, place = run("/usr/bin/Rscript", str(tmp_path / "read.R"), str(path)).splitlines()
    with rasterio.open(path) as file:
        values, counts = np.unique(file.read(), return_counts=True)
    wanted = dict(zip(values.tolist(), counts.tolist(), strict=True))
    found = [row.replace('"', "").split(",") for row in rows[1:]]
    assert {name: int(count) for _, name, count in found} == {
        c.name: wanted[c.value] for c in CLASSES
    }
    assert place.split() == ["32631", "classification"]


@pytest.mark.long
def test_qgis_opens_objects_in_their_colours(object_run: Path, tmp_path: Path) -> None:
    if not Path("/usr/lib/python3/dist-packages/qgis").exists():
        pytest.skip("QGIS for Python is not installed (python3-qgis)")
    rs.publish(object_run, tmp_path / "product", steps=["ponds"])
    path = tmp_path / "product/objects/ponds.gpkg"
    said = run(PYTHON, "-c", OBJECTS, f"{path}|layername=ponds_2024", QT_QPA_PLATFORM="offscreen")
    count = len(rs.read_objects(object_run, "ponds", span=2024))
    first, *classes = said.splitlines()
    assert first == f"True EPSG:32631 {count} categorizedSymbol"
    # The pond has no colour of a map; 4 is "shed" here, and crops in the map.
    assert classes == ["1 pond #0072b2", "4 shed #cc79a7"]
