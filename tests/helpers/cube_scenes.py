"""Small scenes on disk for the tests of the cube: two UTM zones that overlap at 6°E."""

from datetime import UTC, datetime

import numpy as np
import pyproj
import pystac
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.vrt import WarpedVRT
from scipy.ndimage import gaussian_filter

# Both scenes cover the zone boundary at 45°N; the corners are no multiples of 512 px.
WEST = Affine(10, 0, 728_000, 0, -10, 4_990_000)
EAST = Affine(10, 0, 256_510, 0, -10, 4_993_130)
SIZE = 1400


def texture(shape, seed, low=1000, high=9000):
    """Smooth uint16 values in [low, high]: an interpolation shows, nodata of 0 stands out."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return np.clip(noise * 12_000 + 4000, low, high).astype("uint16")


def write(path, data, transform, crs, nodata=0, **options):
    profile = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(
        path,
        "w",
        width=data.shape[-1],
        height=data.shape[-2],
        count=1 if data.ndim == 2 else len(data),
        dtype=data.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        compress="deflate",
        **profile | options,
    ) as dataset:
        dataset.write(data if data.ndim == 3 else data[None])
    return str(path)


def with_overviews(path, factors=(2, 4, 8), method="average"):
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(factors, rasterio.enums.Resampling[method])
    return path


def item(name, when, files, *, epsg=None, transform=None, shape=None, fields=None, **properties):
    """An item of ``{asset key: path}``; ``fields`` are extra fields of every asset."""
    made = pystac.Item(
        id=name,
        geometry=None,
        bbox=None,
        datetime=datetime.fromisoformat(when).replace(tzinfo=UTC),
        properties=properties,
    )
    if epsg:
        made.properties["proj:code"] = f"EPSG:{epsg}"
    if transform:
        made.properties["proj:transform"] = list(transform)[:6]
    if shape:
        made.properties["proj:shape"] = list(shape)
    for key, path in files.items():
        extra = dict(fields or {})
        made.add_asset(key, pystac.Asset(str(path), media_type="image/tiff", extra_fields=extra))
    return made


RASTER = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}


def scene(folder, name, when, transform, crs, seed, bands=("red", "nir", "scl"), gap=0, **more):
    """A Sentinel-2-like scene: uint16 bands, SCL in uint8, a swath edge ``gap`` px wide."""
    files = {}
    for number, band in enumerate(bands):
        if band == "scl":
            data = np.random.default_rng(seed).choice([3, 4, 5, 8, 9], (SIZE, SIZE))
            data = data.astype("uint8")
        else:
            data = texture((SIZE, SIZE), seed + number)
        data[:, :gap] = 0
        files[band] = write(folder / f"{name}_{band}.tif", data, transform, crs)
    epsg = int(crs.split(":")[1])
    made = item(name, when, files, epsg=epsg, transform=transform, shape=(SIZE, SIZE), **more)
    for band in bands:
        kind = "uint8" if band == "scl" else "uint16"
        made.assets[band].extra_fields["raster:bands"] = [{"data_type": kind, "nodata": 0}]
    return made


def geobox(row, col, height, width, transform=WEST, crs="EPSG:32631"):
    """A box ``(row, col)`` pixels from the corner of a scene, on its pixels."""
    corner = Affine(
        transform.a,
        0,
        transform.c + col * transform.a,
        0,
        transform.e,
        transform.f + row * transform.e,
    )
    return GeoBox((height, width), corner, crs)


def warped(path, box, method, nodata=0, level=None, scale=1):
    """The oracle: the fixed blocks of 128 x 256 px around a GeoBox by GDAL itself, then cropped.

    ``scale`` is output pixels per source pixel, at most 1; GDAL would take it from the window.
    """
    res_x, res_y = box.affine.a, -box.affine.e
    col0, phase_x = divmod(round(box.affine.c / res_x, 6), 1)
    row0, phase_y = divmod(round(-box.affine.f / res_y, 6), 1)
    row0, col0, phase_x, phase_y = int(row0), int(col0), round(phase_x, 6), round(phase_y, 6)
    height, width = box.shape
    options = {} if level is None else {"overview_level": level}
    with rasterio.open(path, **options) as dataset:
        out = np.full((height, width), nodata, dataset.dtypes[0])
        for top in range(row0 // 128 * 128, row0 + height, 128):
            for left in range(col0 // 256 * 256, col0 + width, 256):
                corner = Affine(
                    res_x, 0, (left + phase_x) * res_x, 0, -res_y, -(top + phase_y) * res_y
                )
                with WarpedVRT(
                    dataset,
                    crs=box.crs.to_wkt(),
                    transform=corner,
                    width=256,
                    height=128,
                    resampling=rasterio.enums.Resampling[method],
                    src_nodata=nodata,
                    nodata=nodata,
                    XSCALE=str(scale),
                    YSCALE=str(scale),
                ) as vrt:
                    block = vrt.read(1)
                y0, x0 = max(top, row0), max(left, col0)
                y1, x1 = min(top + 128, row0 + height), min(left + 256, col0 + width)
                out[y0 - row0 : y1 - row0, x0 - col0 : x1 - col0] = block[
                    y0 - top : y1 - top, x0 - left : x1 - left
                ]
    return out


def field(lon, lat):
    """A smooth function on the sphere, without a seam anywhere: what a scene should show there."""
    lon, lat = np.radians(lon), np.radians(lat)
    x, y, z = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    return 8000 + 2000 * np.sin(40 * x) + 1500 * np.cos(55 * y) + 1800 * np.sin(60 * z)


def field_on(transform, shape, crs):
    """:func:`field` at the pixel centres of a grid, in float32."""
    row, col = np.indices(shape) + 0.5
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    to_degrees = pyproj.Transformer.from_crs(str(crs), "EPSG:4326", always_xy=True)
    return field(*to_degrees.transform(x, y)).astype("float32")
