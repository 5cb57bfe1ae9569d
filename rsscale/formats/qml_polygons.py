"""QGIS styles (``.qml``) of polygons with classes: beside a vector file of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from rsscale.legend.flags import FlagClass

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_FILL, _LINE = 64, 255  # of 255: what lies below is seen through the fill


def write_polygon_qml(classes: Sequence[FlagClass], column: str = "class") -> str:
    """A style of QGIS 3 for polygons: an outline and a light fill in the colour of each class.

    Parameters
    ----------
    classes : sequence of FlagClass
        Each with a colour. Polygons of other classes are not drawn.
    column : str
        Holds the value of a polygon's class.

    Returns
    -------
    str
        XML.
    """
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ET.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=column, symbollevels="0",
        forceraster="0", enableorderby="0",
    )  # fmt: skip
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, flag in enumerate(classes):
        ET.SubElement(
            categories, "category", value=str(flag.value), symbol=str(number), label=flag.name,
            render="true", type="long",
        )  # fmt: skip
        _symbol(symbols, str(number), flag)
    ET.indent(root)
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def _symbol(symbols: ET.Element, name: str, flag: FlagClass) -> None:
    symbol = ET.SubElement(
        symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1",
        force_rhr="0",
    )  # fmt: skip
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
    layer.set("pass", "0")
    rgb = ",".join(map(str, flag.rgb))
    options = {
        "color": f"{rgb},{_FILL}", "style": "solid",
        "outline_color": f"{rgb},{_LINE}", "outline_style": "solid",
        "outline_width": "0.5", "outline_width_unit": "MM", "joinstyle": "miter",
    }  # fmt: skip
    given = ET.SubElement(layer, "Option", type="Map")
    for key, value in options.items():
        ET.SubElement(given, "Option", type="QString", name=key, value=value)
