"""The layers of a run as the viewer's page lists them: where each lies, and how it is drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rsscale.documents import read_json
from rsscale.layers import Layer
from rsscale.legend.flags import FlagClass, flag_classes
from rsscale.object_files.class_colors import PALETTE
from rsscale.store.storage import Storage
from rsscale.store.zarr_store import open_product

# Pixels that are looked at to find the range of a quantity: one decoded part of a level.
_MOST = 2**22
_IMAGERY = "imagery"


def layer_entries(place: Storage, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe every layer of a run whose store is at a place, the map's first.

    Parameters
    ----------
    place : Storage
        The run folder, or where its stores are published.
    state : mapping
        Content of ``run.json``.

    Returns
    -------
    list of dict
        For JSON. ``kind`` says how a layer is drawn: ``"classes"`` by ``classes``, each with
        value, name and colour; ``"quantity"`` by a ramp over ``range``, in units of ``scale`` and
        ``offset``; ``"imagery"`` as red, green and blue. ``levels`` counts the resolutions that
        the store has of it, the full one included.
    """
    entries = []
    for step, spans, layers in layered_steps(state):
        storage = place.child(store_name(step))
        groups, arrays = _contents(storage)
        for layer in layers:
            levels = [group for group in groups if f"{group}/{layer.name}".strip("/") in arrays]
            if not levels:
                continue
            entry = _entry(step, layer, spans)
            entry |= {"store": store_name(step), "levels": len(levels)}
            if entry["kind"] == "quantity":
                entry["range"] = _range(storage, layer, levels[-1])
            entries.append(entry)
    return _told_apart(entries)


def _told_apart(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of which no two have the same title: those that had get the name of their step."""
    counts = Counter(entry["title"] for entry in entries)
    return [
        entry | {"title": f"{entry['title']} ({entry['step']})"}
        if counts[entry["title"]] > 1 and entry["step"] != "map"
        else entry
        for entry in entries
    ]


def layered_steps(
    state: Mapping[str, Any],
) -> Iterator[tuple[str, tuple[str, ...], tuple[Layer, ...]]]:
    """Steps that store layers of their own, with spans and layers; the map, then in their order."""
    steps = state["steps"]
    order = [name for name in state.get("order") or steps if steps[name].get("store") == name]
    for name in sorted(order, key=lambda name: name != "map"):
        step = steps[name]
        yield name, tuple(step["spans"]), tuple(Layer.parse(layer) for layer in step["layers"])


def store_name(step: str) -> str:
    """Name of a step's store in a run folder."""
    return "product.zarr" if step == "map" else f"{step}.zarr"


def _entry(step: str, layer: Layer, spans: Sequence[str]) -> dict[str, Any]:
    """What the layer's own description says of it."""
    title = str(layer.attributes.get("long_name") or layer.name.replace("_", " ")).partition(";")[0]
    entry: dict[str, Any] = {
        "id": f"{step}/{layer.name}",
        "step": step,
        "name": layer.name,
        "title": title[:1].upper() + title[1:],
        "spans": list(spans),
        "dtype": layer.dtype,
        "nodata": None if math.isnan(layer.nodata) else layer.nodata,
        "scale": layer.scale,
        "offset": layer.offset,
        "units": str(layer.attributes.get("units", "")),
    }
    if layer.axis is not None:
        entry["axis"] = {"name": layer.axis.name, "values": list(layer.axis.values)}
    classes = flag_classes(layer.attributes)
    if layer.attributes.get("rsscale_kind") == _IMAGERY:
        return entry | {"kind": _IMAGERY}
    if classes and layer.axis is None:
        return entry | {"kind": "classes", "classes": list(_with_colors(classes))}
    return entry | {"kind": "quantity"}


def _with_colors(classes: Sequence[FlagClass]) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(classes):
        color = entry.color or PALETTE[number % len(PALETTE)]
        yield {"value": entry.value, "name": entry.name, "color": color}


def _contents(storage: Storage) -> tuple[list[str], set[str]]:
    """Groups of the resolutions of a store, fine to coarse, and paths of all that it holds.

    The root is the group ``""``. A store that is not there holds nothing.
    """
    try:
        root = read_json(storage.read("zarr.json"))
        layout = root["attributes"].get("multiscales", {}).get("layout", [])
        paths = set(root["consolidated_metadata"]["metadata"])
        return [str(level["asset"]).strip(".") for level in layout] or [""], paths
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return [], set()


def _range(storage: Storage, layer: Layer, group: str) -> list[float]:
    """Lowest and highest value of the ramp, as quantities.

    Percents have 0 and 100. Others go from the 2nd to the 98th percentile of what the middle of
    the coarsest level holds, a few million pixels at most; from 0 to 1 where it holds nothing.
    """
    units = str(layer.attributes.get("units", ""))
    if units in ("percent", "%"):
        return [0.0, 100.0]
    valid = layer.attributes.get("valid_range")
    if valid is not None:
        return [float(value) * layer.scale + layer.offset for value in valid]
    array = open_product(storage, group)[layer.name]
    first = {str(name): 0 for name in array.dims if name not in ("y", "x")}
    around = max(math.isqrt(_MOST) // 2, 1)
    rows, cols = (
        slice(max(size // 2 - around, 0), size // 2 + around)
        for size in (array.sizes["y"], array.sizes["x"])
    )
    values = np.asarray(array.isel(first).isel(y=rows, x=cols).values, np.float64)
    # What has a scale is read as quantities, with NaN where there is no value.
    is_valid = np.isfinite(values) & (layer.is_scaled | (values != layer.nodata))
    quantities = values[is_valid]
    if quantities.size == 0:
        return [0.0, 1.0]
    low, high = (float(value) for value in np.percentile(quantities, [2, 98]))
    return [low, high] if high > low else [low, low + 1.0]
