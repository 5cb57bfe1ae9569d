"""Items of real archives: what each must give, read off the item by eye."""

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
from odc.geo.geobox import GeoBox
from odc.geo.geom import box

from rsscale.catalog.search import search
from rsscale.errors import CatalogError
from rsscale.items import assets, radiometry
from rsscale.items.bands import band_requests, find_bands
from rsscale.items.features import moment
from rsscale.items.freeze import freeze, thaw
from rsscale.items.item_index import ItemIndex
from rsscale.items.versions import newest_versions

REAL = Path(__file__).resolve().parents[2] / "../shared/data/stac-items"

pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real STAC items are not at {REAL}; they are not of the project"
)

LANDSAT8 = "LC08_L2SP_028030_20200114_20200824_02_T1_SR.json"
LANDSAT8_BETA = "LC08_L2SR_081119_20200101_20200823_02_T2.json"
LANDSAT7 = "LE07_L2SP_044033_20210329_20210424_02_T1_SR.json"
EARTH_SEARCH = "S2A_28QCH_20200714_0_L2A.json"
PLANETARY = "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json"
PLANETARY_RASTER = "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext.json"
AUSTRALIA = "ga_ls8c_ard_3-1-0_088080_2020-05-25_final.stac-item.json"
LIDAR = "lidar_dem.json"
ONLY_CRS = "only_crs_proj.json"
AFRICA = "site1-20200606-tall-strip-africa.geojson"
TILE_35MNM = "site2-2020_jun_jul-35MNM.geojson"
ALL = [
    LANDSAT8, LANDSAT8_BETA, LANDSAT7, EARTH_SEARCH, PLANETARY, PLANETARY_RASTER, AUSTRALIA,
    LIDAR, ONLY_CRS, AFRICA, TILE_35MNM,
]  # fmt: skip

SR = (0.0000275, -0.2)
S2 = (0.0001, 0.0)  # all of these are older than baseline 04.00
CODES = (1.0, 0.0)
NONE = None

# file, band asked for, asset, CRS, transform's a, c, f, shape, scale and offset, type, nodata
FACTS = [
    (LANDSAT8, "red", "red", "EPSG:32615", (30, 173085, 4904715), (8041, 7931), SR, "uint16", 0),
    (LANDSAT8, "B4", "red", "EPSG:32615", (30, 173085, 4904715), (8041, 7931), SR, "uint16", 0),
    (LANDSAT8, "QA_PIXEL", "qa_pixel", "EPSG:32615", (30, 173085, 4904715), (8041, 7931),
     CODES, NONE, NONE),
    (LANDSAT8, "qa_aerosol", "qa_aerosol", "EPSG:32615", (30, 173085, 4904715), (8041, 7931),
     CODES, NONE, NONE),
    # Bands by their index in a list of the item; names with the suffix of a file.
    (LANDSAT8_BETA, "red", "SR_B4.TIF", "EPSG:3031", (1164.15, 857085, -127485), (200, 200),
     SR, "uint16", 0),
    (LANDSAT8_BETA, "SR_B2", "SR_B2.TIF", "EPSG:3031", (1164.15, 857085, -127485), (200, 200),
     SR, "uint16", 0),
    (LANDSAT8_BETA, "qa_pixel", "QA_PIXEL.TIF", "EPSG:3031", (1164.15, 857085, -127485),
     (200, 200), CODES, NONE, NONE),
    (LANDSAT7, "swir22", "swir22", "EPSG:32610", (30, 478485, 4416615), (7131, 8151),
     SR, "uint16", 0),
    (LANDSAT7, "atmos_opacity", "atmos_opacity", "EPSG:32610", (30, 478485, 4416615),
     (7131, 8151), CODES, NONE, NONE),
    (LANDSAT7, "cloud_qa", "cloud_qa", "EPSG:32610", (30, 478485, 4416615), (7131, 8151),
     CODES, NONE, NONE),
    (EARTH_SEARCH, "B04", "B04", "EPSG:32628", (10, 300000, 2300040), (10980, 10980),
     S2, "uint16", 0),
    (EARTH_SEARCH, "scl", "SCL", "EPSG:32628", (20, 300000, 2300040), (5490, 5490),
     CODES, "uint8", 0),
    (PLANETARY, "red", "B04", "EPSG:32606", (10, 399960, 6800040), (10980, 10980),
     S2, "uint16", 0),
    (PLANETARY, "scl", "SCL", "EPSG:32606", (20, 399960, 6800040), (5490, 5490),
     CODES, "uint8", 0),
    (PLANETARY, "AOT", "AOT", "EPSG:32606", (10, 399960, 6800040), (10980, 10980),
     (0.001, 0.0), "uint16", 0),
    (PLANETARY_RASTER, "nir", "B08", "EPSG:32606", (10, 399960, 6800040), (10980, 10980),
     S2, "uint16", 0),
    (AUSTRALIA, "nbart_red", "nbart_red", "EPSG:32656", (30, 526785, -3077085), (7841, 7781),
     (0.0001, 0.0), "int16", -999),
    (AUSTRALIA, "nbart_panchromatic", "nbart_panchromatic", "EPSG:32656",
     (15, 526792.5, -3077092.5), (15681, 15561), (0.0001, 0.0), "int16", -999),
    (AUSTRALIA, "fmask", "oa_fmask", "EPSG:32656", (30, 526785, -3077085), (7841, 7781),
     CODES, NONE, NONE),
    (AUSTRALIA, "oa_solar_zenith", "oa_solar_zenith", "EPSG:32656", (30, 526785, -3077085),
     (7841, 7781), CODES, NONE, NONE),
    (LIDAR, "dem", "dem", "EPSG:28355", (1, 766000, 6732000), (2000, 2000),
     CODES, "float32", NONE),
    (AFRICA, "swir16", "B11", "EPSG:32735", (20, 499980, 8400040), (5490, 5490),
     S2, "uint16", 0),
    (TILE_35MNM, "blue", "B02", "EPSG:32735", (10, 499980, 9200020), (10980, 10980),
     S2, "uint16", 0),
]  # fmt: skip


def one(name):
    return search(REAL / name)[0]


@pytest.mark.parametrize(
    ("name", "band", "key", "crs", "corner", "shape", "scaling", "kind", "nodata"), FACTS
)
def test_what_an_asset_is(name, band, key, crs, corner, shape, scaling, kind, nodata):
    item = one(name)
    [found] = find_bands(item, band_requests([band]))
    assert (found.key, found.index) == (key, None)
    raster = assets.raster(item, item.assets[key])
    assert raster.crs == crs
    assert (raster.transform[0], raster.transform[2], raster.transform[5]) == corner
    assert raster.shape == shape
    assert radiometry.scale_offset(item, key) == scaling
    asset = item.assets[key]
    dtype = assets.data_type(item, asset) or radiometry.known_type(item, key)
    assert dtype == (kind and np.dtype(kind))
    declared = assets.nodata(item, key)
    assert (radiometry.known_nodata(item, key) if declared is None else declared) == nodata


def test_an_item_that_tells_only_its_crs():
    item = one(ONLY_CRS)
    asset = item.assets["PV_PC_50"]
    assert assets.crs(item, asset) == "EPSG:4326"
    assert assets.raster(item, asset) is None
    assert radiometry.scale_offset(item, "PV_PC_50") == CODES  # no surface reflectance
    assert radiometry.known_type(item, "PV_PC_50") is None


@pytest.mark.parametrize(
    ("name", "when", "day"),
    [
        (LANDSAT8, "2020-01-14T17:05:46.732651", "2020-01-14"),  # -95.5 degrees: 10:44
        (EARTH_SEARCH, "2020-07-14T11:55:52", "2020-07-14"),
        (PLANETARY, "2019-06-29T21:25:29.024", "2019-06-29"),
        (AUSTRALIA, "2020-05-25T23:35:47.745731", "2020-05-26"),  # 154.5 degrees: 9:53 next day
        (LIDAR, "2012-01-01T00:00:00", "2012-01-01"),  # a range without datetime
        (ONLY_CRS, "2019-01-01T00:00:00", "2019-01-01"),
    ],
)
def test_when_an_item_was_taken(name, when, day):
    item = one(name)
    assert np.datetime64(moment(item).replace(tzinfo=None)) == np.datetime64(when)
    assert assets.solar_day(item) == np.datetime64(day)


@pytest.mark.parametrize("name", ALL)
def test_each_file_is_found_frozen_and_indexed(name, tmp_path):
    document = json.loads((REAL / name).read_text())
    features = document.get("features", [document])
    items = search(REAL / name)
    assert {item.id for item in items} == {feature["id"] for feature in features}
    freeze(items, tmp_path / "items.parquet")
    back = thaw(tmp_path / "items.parquet")
    assert [i.to_dict(transform_hrefs=False) for i in back] == [
        i.to_dict(transform_hrefs=False) for i in items
    ]
    for feature, item in zip(sorted(features, key=lambda f: f["id"]), by_id(back), strict=True):
        west, south, east, north = feature["bbox"]
        middle = [(west + east) / 2, (south + north) / 2]
        area = [middle[0] - 0.01, middle[1] - 0.01, middle[0] + 0.01, middle[1] + 0.01]
        assert item.id in {found.id for found in search(REAL / name, area=area)}
        check_index(item, area)


def by_id(items):
    return sorted(items, key=lambda item: item.id)


def check_index(item, area):
    """The index finds an item where its rasters are, and unless they are unknown nowhere else."""
    key = next(k for k, a in item.assets.items() if "tif" in (a.media_type or "").lower())
    raster = assets.raster(item, item.assets[key])
    crs = assets.crs(item, item.assets[key])
    index = ItemIndex([item], crs, [key])
    day = moment(item).date()
    here = GeoBox.from_bbox(
        box(*area, "EPSG:4326").to_crs(crs).boundingbox.bbox, crs, shape=(100, 100)
    )
    assert [found.id for found in index.touching(here, day, day)] == [item.id]
    left, bottom, right, top = here.boundingbox.bbox
    there = GeoBox.from_bbox(
        (left + 3e6, bottom, right + 3e6, top) if raster else (left, bottom, right, top),
        crs,
        shape=(100, 100),
    )
    assert [found.id for found in index.touching(there, day, day)] == [item.id] * (not raster)


@pytest.mark.parametrize(
    ("area", "tiles"),
    [
        ([27.5, -9.8, 27.6, -9.7], {"T35LNK"}),
        ([27.5, -10.03, 27.6, -9.96], {"T35LNJ", "T35LNK"}),  # where two tiles overlap
        ([27.5, -15.4, 27.6, -7.3], {"T35LND", "T35LNE", "T35LNF", "T35LNG", "T35LNH", "T35LNJ",
                                     "T35LNK", "T35LNL", "T35MNM"}),
    ],
)  # fmt: skip
def test_an_area_finds_the_tiles_under_it(area, tiles):
    assert {item.id.split("_")[4] for item in search(REAL / AFRICA, area=area)} == tiles
    index = ItemIndex(search(REAL / AFRICA), "EPSG:32735", ["red"])
    bounds = box(*area, "EPSG:4326").to_crs("EPSG:32735").boundingbox.bbox
    there = GeoBox.from_bbox(bounds, "EPSG:32735", shape=(50, 50))
    day = np.datetime64("2020-06-06").item()
    assert {item.id.split("_")[4] for item in index.touching(there, day, day)} == tiles


def test_the_collection_has_no_items():
    with pytest.raises(CatalogError, match="no items"):
        search(REAL / "sentinel-2-l2a.collection.json")


def test_versions_of_the_tile_are_scenes_of_their_own():
    items = search(REAL / TILE_35MNM)
    assert len(newest_versions(items).items) == len(items) == 13
    again = pystac.Item.from_dict(items[0].to_dict())
    again.id = again.id[:-15] + "20210101T000000"
    again.properties["s2:processing_baseline"] = "05.00"
    again.properties["s2:product_uri"] = again.id.replace("_R078", "_N0500_R078") + ".SAFE"
    found = newest_versions([*items, again])
    assert found.left_out == {items[0].id: again.id}
