"""Names and colours beside a raster: GDAL's and ArcGIS's tables, and files that have none."""

from pathlib import Path

import pytest

from rsscale.errors import ModelError
from rsscale.legend.attribute_table import RasterLegend, read_legend

TABLE = (
    '<GDALRasterAttributeTable><FieldDefn index="1"><Name>class_name</Name></FieldDefn>'
    '<FieldDefn index="0"><Name>VALUE</Name></FieldDefn>'
    '<FieldDefn index="2"><Name>red</Name></FieldDefn>'
    '<FieldDefn index="3"><Name>green</Name></FieldDefn>'
    '<FieldDefn index="4"><Name>blue</Name></FieldDefn>'
    '<Row index="0"><F>7</F><F>wood</F><F>1</F><F>2</F><F>3</F></Row>'
    '<Row index="1"><F>9.0</F><F> lake </F><F>255</F><F>300</F><F>0</F></Row>'
    '<Row index="2"><F>x</F><F>none</F><F>0</F><F>0</F><F>0</F></Row>'
    '<Row index="3"><F>8</F></Row></GDALRasterAttributeTable>'
)
CATEGORIES = "<CategoryNames><Category/><Category>water</Category></CategoryNames>"
COLORS = (
    '<ColorTable><Entry c1="0" c2="0" c3="0" c4="0"/><Entry c1="10" c2="20" c3="30"/></ColorTable>'
)


def write(folder: Path, content: str, *, virtual: bool = False) -> Path:
    if virtual:
        (folder / "a.vrt").write_text(
            f'<VRTDataset><VRTRasterBand band="1">{content}</VRTRasterBand></VRTDataset>'
        )
        return folder / "a.vrt"
    (folder / "a.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="2"/><PAMRasterBand band="1">{content}</PAMRasterBand>'
        "</PAMDataset>"
    )
    return folder / "a.tif"


@pytest.mark.parametrize("virtual", [False, True])
def test_columns_are_known_by_their_usual_names(tmp_path: Path, virtual: bool) -> None:
    legend = read_legend(write(tmp_path, TABLE, virtual=virtual))
    assert legend == RasterLegend({7: "wood", 9: "lake"}, {7: "#010203"})


def test_category_names_and_a_colour_table(tmp_path: Path) -> None:
    legend = read_legend(write(tmp_path, CATEGORIES + COLORS))
    assert legend == RasterLegend({1: "water"}, {1: "#0a141e"})
    both = read_legend(write(tmp_path, CATEGORIES + COLORS + TABLE))
    assert both.names == {1: "water", 7: "wood", 9: "lake"}


@pytest.mark.parametrize("content", [None, "", "<oops", TABLE.replace("class_name", "remark")])
def test_files_without_names_have_an_empty_legend(tmp_path: Path, content: str | None) -> None:
    path = write(tmp_path, content) if content is not None else tmp_path / "a.tif"
    assert read_legend(path).names == {}
    with pytest.raises(ModelError, match="no attribute table with the column 'nam'"):
        read_legend(path, "nam")
