"""QGIS layer styles (``.qml``) and legends of layers: beside a GeoTIFF of the same name.

QGIS applies ``name.qml`` to ``name.tif`` when it opens the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from rsscale.layers import Layer
from rsscale.legend.flags import FlagClass, flag_classes

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# Viridis at even steps: light is much, and the order is seen without colours too.
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
_GREYS = ("#bdbdbd", "#969696", "#737373", "#525252", "#252525")


def legend_of(layer: Layer) -> tuple[FlagClass, ...]:
    """The classes of a layer, each with a colour; empty for a layer that has none."""
    classes = flag_classes(layer.attributes)
    return tuple(
        entry if entry.color else FlagClass(entry.value, entry.name, _GREYS[n % len(_GREYS)])
        for n, entry in enumerate(classes)
    )


def write_qml(layer: Layer, values: tuple[float, float] = (0.0, 1.0)) -> str:
    """A style of QGIS 3 for a layer: its classes and colours, or a ramp over its values.

    Parameters
    ----------
    layer : Layer
        Of a layer with an axis the first band is shown.
    values : (float, float)
        Lowest and highest physical value of the ramp.

    Returns
    -------
    str
        XML.
    """
    root = ET.Element(
        "qgis",
        version="3.22",
        styleCategories="AllStyleCategories",
        hasScaleBasedVisibilityFlag="0",
    )
    pipe = ET.SubElement(root, "pipe")
    classes = legend_of(layer)
    _classes(pipe, classes) if classes else _ramp(pipe, layer, values)
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0")
    ET.SubElement(
        pipe, "rasterresampler", maxOversampling="1", zoomedInResampler="", zoomedOutResampler=""
    )
    ET.indent(root)
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def _classes(pipe: ET.Element, classes: Sequence[FlagClass]) -> None:
    renderer = _renderer(pipe, "paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for entry in classes:
        ET.SubElement(
            palette, "paletteEntry",
            value=str(entry.value), label=entry.name, color=entry.color, alpha="255",
        )  # fmt: skip


def _ramp(pipe: ET.Element, layer: Layer, values: tuple[float, float]) -> None:
    low, high = values
    renderer = _renderer(pipe, "singlebandpseudocolor")
    renderer.set("classificationMin", f"{low:g}")
    renderer.set("classificationMax", f"{high:g}")
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"), "colorrampshader",
        colorRampType="INTERPOLATED", classificationMode="2", clip="0",
        minimumValue=f"{low:g}", maximumValue=f"{high:g}", labelPrecision="4",
    )  # fmt: skip
    units = str(layer.attributes.get("units", ""))
    unit = {"percent": " %", "": ""}.get(units, f" {units}")
    for place, color in enumerate(_RAMP):
        value = low + (high - low) * place / (len(_RAMP) - 1)
        label = f"{value:g}{unit}"
        ET.SubElement(shader, "item", value=f"{value:g}", label=label, color=color, alpha="255")


def _renderer(pipe: ET.Element, kind: str) -> ET.Element:
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type=kind, band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    ET.SubElement(renderer, "rasterTransparency")
    return renderer


def write_legend_csv(layer: Layer) -> str:
    """Value, name and colour of each class, as a table."""
    lines = ["value,name,color"]
    lines += [f'{e.value},"{e.name.replace(chr(34), chr(34) * 2)}",{e.color}'
              for e in legend_of(layer)]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_legend_svg(layer: Layer, title: str) -> str:
    """A picture of the legend of a layer of classes, readable in any browser and in print."""
    classes, row = legend_of(layer), 26
    widest = max((len(text) for text in [title, *(e.name for e in classes)]), default=10)
    width, height = 60 + 10 * widest, 44 + row * len(classes)
    root = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", width=str(width), height=str(height),
        viewBox=f"0 0 {width} {height}", role="img",
    )  # fmt: skip
    ET.SubElement(root, "title").text = f"Legend: {title}"
    ET.SubElement(root, "rect", width="100%", height="100%", fill="#ffffff")
    style = {"font-family": "Noto Sans, DejaVu Sans, sans-serif", "fill": "#1a1a1a"}
    bold = {**style, "font-size": "15", "font-weight": "bold"}
    ET.SubElement(root, "text", {"x": "12", "y": "24", **bold}).text = title
    for place, entry in enumerate(classes):
        y = 38 + place * row
        ET.SubElement(
            root, "rect", x="12", y=str(y), width="26", height="18", fill=entry.color,
            stroke="#555555",
        )  # fmt: skip
        ET.SubElement(
            root, "text", {"x": "48", "y": str(y + 14), "font-size": "14", **style}
        ).text = entry.name
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
