"""Styles of QGIS and legends."""

import csv
import io
from xml.etree import ElementTree as ET

from formula_pass import CLASSES, LAYERS

from rsscale.formats.qml import write_legend_csv, write_legend_svg, write_qml
from rsscale.layers import Layer


def parsed(text: str) -> ET.Element:
    """What was just written."""
    return ET.fromstring(text)  # noqa: S314


def test_classes_are_a_palette() -> None:
    root = parsed(write_qml(LAYERS["classification"]))
    renderer = root.find("pipe/rasterrenderer")
    assert renderer.get("type") == "paletted"
    entries = [(e.get("value"), e.get("label"), e.get("color")) for e in root.iter("paletteEntry")]
    assert entries == [(str(c.value), c.name, c.color) for c in CLASSES]


def test_quantities_are_a_ramp_over_their_values() -> None:
    root = parsed(write_qml(LAYERS["confidence"], (0, 100)))
    items = list(root.iter("item"))
    assert [item.get("value") for item in items] == ["0", "25", "50", "75", "100"]
    assert items[0].get("label") == "0 %"
    assert root.find("pipe/rasterrenderer").get("type") == "singlebandpseudocolor"


def test_names_that_xml_and_csv_must_escape() -> None:
    names = ['wet <&> "dry"', "森林, 竹"]
    flags = {"flag_values": [0, 7], "flag_meanings": "a b", "class_names": str(names)}
    flags["class_names"] = '["wet <&> \\"dry\\"", "森林, 竹"]'
    layer = Layer("x", overview="mode", attributes=flags)
    labels = [e.get("label") for e in parsed(write_qml(layer)).iter("paletteEntry")]
    assert labels == names
    rows = list(csv.DictReader(io.StringIO(write_legend_csv(layer))))
    assert [row["name"] for row in rows] == names
    assert all(row["color"].startswith("#") for row in rows)
    picture = parsed(write_legend_svg(layer, "a & b"))
    texts = [e.text for e in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a & b", *names]
