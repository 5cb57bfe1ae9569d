"""A program of somebody else: reads a model by its item alone, without rsscale.

    python mlm_elsewhere.py FOLDER ...

Each folder holds a model in ``model`` and ``imagery.npz``: ``values`` (time, band, y, x) in
physical units with NaN where nothing was seen, ``bands``, ``times`` (names of time windows, or
dates). It gets ``scores.npz``: ``scores`` of the network and ``classes`` of each pixel.
"""

import importlib.abc
import json
import sys
from pathlib import Path

import numpy as np


class NoRsscale(importlib.abc.MetaPathFinder):
    """Makes importing rsscale fail, as where it is not installed."""

    def find_spec(self, name, *_):
        if name.partition(".")[0] == "rsscale":
            raise ModuleNotFoundError(f"{name} is not installed here")


def network_input(item, imagery):
    """Tensors of a window by their names, of what the item says of each input."""
    import torch

    properties = item["properties"]
    nodata = {band["name"]: band["nodata"] for band in properties["bands"]}
    assert set(nodata.values()) == {"nan"}
    blank = {"mean": 0.0, "nan": np.nan}[properties["rsscale:missing"]]
    found = {}
    values, bands = imagery["values"], imagery["bands"].tolist()
    for declared in properties["mlm:input"]:
        order, shape = declared["input"]["dim_order"], declared["input"]["shape"]
        if "rsscale:of" in declared:
            found[declared["name"]] = beside(declared, found, imagery)
            continue
        channels = declared["bands"]
        if "rsscale:series" in declared:
            count = declared["rsscale:series"]
            when = np.argsort(imagery["times"])
            number = len(channels)
        else:
            count = len(declared["rsscale:times"])
            when = [imagery["times"].tolist().index(time) for time in declared["rsscale:times"]]
            number = len(channels) // (1 if "time" in order else count)
        picked = values[when][:, [bands.index(name) for name in channels[:number]]]
        series = np.full((count, *picked.shape[1:]), np.nan, np.float32)
        series[: len(picked)] = picked
        scaling = declared["value_scaling"][:number]
        for band, said in enumerate(scaling):
            assert said["type"] == "z-score"
            series[:, band] = (series[:, band] - said["mean"]) / said["stddev"]
        found[f"{declared['name']}.known"] = np.isfinite(series).all(axis=1)
        series = np.where(np.isfinite(series), series, np.float32(blank))
        whole = series if "time" in order else series.reshape(-1, *series.shape[2:])
        assert list(whole.shape) == shape[1:], (whole.shape, shape)
        found[declared["name"]] = whole[None].astype(declared["input"]["data_type"])
    return {k: torch.from_numpy(v) for k, v in found.items() if not k.endswith(".known")}


def beside(declared, found, imagery):
    """Days of the year, or what is known, of an input."""
    known = found[f"{declared['rsscale:of']}.known"]
    if declared["name"].endswith(".valid"):
        return known[None]
    dates = np.sort(imagery["times"]).astype("datetime64[D]")
    days = (dates - dates.astype("datetime64[Y]")).astype(int) + 1
    padded = np.zeros(declared["input"]["shape"][1:], declared["input"]["data_type"])
    padded[: len(days)] = days
    return padded[None]


def program(path, _):
    import torch

    return torch.export.load(path).module()


def graph(path, _):
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (first,) = session.get_inputs()
    return lambda window: torch.from_numpy(session.run(None, {first.name: window.numpy()})[0])


def pixel_network(path, item):
    """The network "pixel": a hidden layer and a last one on each pixel alone."""
    import torch
    from safetensors.torch import load_file

    properties = item["properties"]
    assert properties["mlm:architecture"] == "pixel"
    width = properties["mlm:hyperparameters"]["width"]
    channels = properties["mlm:input"][0]["input"]["shape"][1]
    outputs = properties["mlm:output"][0]["result"]["shape"][1]
    network = torch.nn.Module()
    network.hidden = torch.nn.Conv2d(channels, width, 1)
    network.head = torch.nn.Conv2d(width, outputs, 1)
    network.load_state_dict(load_file(path))
    return lambda window: network.head(torch.relu(network.hidden(window)))


OPENERS = {"torch.export.save": program, "onnx": graph, "safetensors": pixel_network}


def run(place):
    import torch

    folder = place / "model"
    item = json.loads((folder / "item.json").read_text())
    (asset,) = [a for a in item["assets"].values() if "mlm:model" in a["roles"]]
    network = OPENERS[asset["mlm:artifact_type"]](folder / asset["href"], item)
    given = network_input(item, np.load(place / "imagery.npz"))
    with torch.inference_mode():
        scores = network(given if len(given) > 1 else next(iter(given.values())))
    (declared,) = item["properties"]["mlm:output"]
    assert list(scores.shape)[1:] == declared["result"]["shape"][1:]
    values = np.array([known["value"] for known in declared["classification:classes"]])
    classes = values[scores[0].argmax(dim=0).numpy()]
    np.savez(place / "scores.npz", scores=scores.numpy(), classes=classes)


if __name__ == "__main__":
    sys.meta_path.insert(0, NoRsscale())
    try:
        import rsscale  # noqa: F401
    except ModuleNotFoundError:
        for argument in sys.argv[1:]:
            run(Path(argument))
    else:
        raise SystemExit("rsscale is there")
