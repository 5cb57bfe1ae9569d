"""Heads: probabilities, values and vectors become layers, the same for any cut, eager and lazy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from box_model import BOX, GRID, BoxModel, composite

from rsscale.errors import ModelError, RecipeError
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.heads import head_of
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.outputs import (
    ClassOutput,
    ConformalSets,
    EmbeddingOutput,
    Output,
    ValueOutput,
)
from rsscale.prediction.predict import predict

FLOAT = Layer("height", "float32", attributes={"units": "m"})
SCALED = Layer("biomass", "uint16", nodata=65535, scale=0.1, attributes={"units": "t/ha"})
SIGNED = Layer("shift", "int8", nodata=-128, scale=0.01, offset=0.5)


class Numbers(BoxModel):
    """Returns means over 7 by 7 pixels as so many numbers."""

    def __init__(self, output: Output, blend: str = "trim") -> None:
        super().__init__()
        classes = self.spec.classes if isinstance(output, ClassOutput) else ()
        self.spec = replace(
            self.spec,
            output=output,
            classes=classes,
            lattice=Lattice(16, 3, blend),  # type: ignore[arg-type]
        )

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        mean = torch.nn.functional.avg_pool2d(batch, 7, stride=1, padding=3)
        count = self.spec.output_channels
        return torch.cat([mean * (k + 1) for k in range(-(-count // 4))], dim=1)[:, :count]


OUTPUTS = {
    "sigmoid": ClassOutput("sigmoid"),
    "cooler": ClassOutput(temperature=2.5),
    "float": ValueOutput((FLOAT,)),
    "three": ValueOutput((SCALED, FLOAT, SIGNED)),
    "embedding": EmbeddingOutput(6),
    "square": EmbeddingOutput(5, quantization="square"),
    "float embedding": EmbeddingOutput(4, "float32", unit_length=False),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
@pytest.mark.parametrize("blend", ["trim", "hann"])
def test_layers_are_the_same_for_any_cut(output: Output, blend: str) -> None:
    model, comp = Numbers(output, blend), composite(BOX)
    whole = predict(comp, model)
    lazy = predict(comp.chunk(y=30, x=26), model)
    assert list(whole) == list(lazy) == [layer.name for layer in model.spec.layers()]
    for layer in model.spec.layers():
        assert lazy[layer.name].dtype == whole[layer.name].dtype == layer.numpy_dtype
        assert lazy[layer.name].attrs == whole[layer.name].attrs
    xr.testing.assert_identical(lazy.compute().drop_attrs(), whole.drop_attrs())
    core = PixelBox(BOX.row0 + 11, BOX.col0 + 8, BOX.row0 + 30, BOX.col0 + 50)
    read = model.spec.lattice.read_box(core) & BOX
    part = predict(comp[(..., *read.slices(BOX))], model, core=GRID.geobox_of(core))
    rows, cols = core.slices(BOX)
    xr.testing.assert_equal(part, whole.isel(y=rows, x=cols))


def test_values_are_stored_as_their_layers_say() -> None:
    comp = composite(BOX)
    found = predict(comp, Numbers(ValueOutput((SCALED, FLOAT, SIGNED))))
    want = predict(comp, Numbers(ValueOutput(tuple(replace(FLOAT, name=n) for n in "abc"))))
    seen = np.isfinite(want.a.values)
    assert 0.5 < seen.mean() < 1
    decoded = found.biomass.values[seen] * 0.1
    assert abs(decoded - want.a.values[seen]).max() <= 0.05 + 1e-6
    assert (found.biomass.values[~seen] == 65535).all()
    assert np.array_equal(found.height, want.b, equal_nan=True)
    shift = found["shift"].values[seen] * 0.01 + 0.5
    assert abs(shift - want.c.values[seen]).max() <= 0.005 + 1e-6
    assert found.biomass.attrs["scale_factor"] == 0.1
    assert found.biomass.attrs["units"] == "t/ha"
    decoded_by_cf = xr.decode_cf(found[["biomass"]]).biomass.values
    assert np.allclose(decoded_by_cf[seen], decoded)
    assert np.isnan(decoded_by_cf[~seen]).all()


def test_what_lies_beyond_a_type_becomes_its_nearest_end_and_never_nodata() -> None:
    class Extreme(Numbers):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            scores = super().__call__(batch)
            scores[:, 0] = 1e9
            scores[:, 1] = -1e9
            return scores

    low = Layer("low", "int16", nodata=-32768)
    found = predict(composite(BOX), Extreme(ValueOutput((SCALED, low))))
    seen = found.observations.values > 0
    assert set(found.biomass.values[seen].tolist()) == {65534}
    assert set(found.low.values[seen].tolist()) == {-32767}


def test_embeddings_decode_by_what_their_layer_says() -> None:
    comp = composite(BOX)
    exact = predict(comp, Numbers(EmbeddingOutput(5, "float32"))).embedding.values
    seen = np.isfinite(exact[0])
    assert abs(np.linalg.norm(exact[:, seen], axis=0) - 1).max() < 1e-5
    linear = predict(comp, Numbers(EmbeddingOutput(5))).embedding
    decoded = xr.decode_cf(linear.to_dataset()).embedding.values
    assert abs(decoded[:, seen] - exact[:, seen]).max() <= 0.5 / 127 + 1e-6
    assert np.isnan(decoded[:, ~seen]).all()
    square = predict(comp, Numbers(EmbeddingOutput(5, quantization="square"))).embedding
    stored = square.values.astype(np.float64)
    assert square.attrs["quantization"] == "value = sign(stored) * (abs(stored) / 127.5) ** 2"
    value = np.sign(stored) * (abs(stored) / 127.5) ** 2
    assert abs(value[:, seen] - exact[:, seen]).max() < 0.009
    assert (stored[:, ~seen] == -128).all()
    assert square.dims == ("feature", "y", "x")


@pytest.mark.parametrize("output", [ValueOutput((SCALED,)), EmbeddingOutput(3)])
def test_pixels_without_a_number_are_nodata_in_each_layer(output: Output) -> None:
    class Broken(Numbers):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            scores = super().__call__(batch).clone()
            scores[:, -1, :, 5] = float("inf")
            return scores

    found, whole = (predict(composite(BOX), kind(output)) for kind in (Broken, Numbers))
    name = next(iter(found))
    assert found.attrs["non_finite"] > 0
    layer = output.layers(())[0]
    first = layer.axis is not None
    lost = (found[name] == layer.nodata).values & (whole[name] != layer.nodata).values
    assert (lost[0] if first else lost).sum() == found.attrs["non_finite"]


def test_temperature_changes_no_label() -> None:
    comp = composite(BOX)
    plain, cooler = (predict(comp, Numbers(ClassOutput(temperature=t))) for t in (1.0, 3.0))
    assert (plain.classification == cooler.classification).all()
    seen = plain.classification.values != 255
    assert (cooler.confidence.values[seen] <= plain.confidence.values[seen]).all()
    assert (cooler.confidence != plain.confidence).any()


def test_layers_are_chosen_by_name() -> None:
    comp = composite(BOX)
    some = predict(comp, Numbers(ValueOutput((SCALED, FLOAT))), layers=["height", "biomass"])
    assert list(some) == ["height", "biomass"]
    with pytest.raises(RecipeError, match="no layer 'hight'; expected some of biomass, height"):
        predict(comp, Numbers(ValueOutput((SCALED, FLOAT))), layers=["hight"])
    with pytest.raises(RecipeError, match="expected 'classification', and of"):
        predict(comp, BoxModel(), layers=["confidence"])
    assert list(predict(comp, BoxModel(), layers=["classification"])) == ["classification"]


def test_contracts_that_contradict_themselves_are_refused() -> None:
    spec = BoxModel().spec
    with pytest.raises(ModelError, match="one score of a sigmoid tells two classes apart"):
        replace(spec, output=ClassOutput("sigmoid"), classes=spec.classes[:1])
    with pytest.raises(ModelError, match="returns values and has the classes"):
        replace(spec, output=ValueOutput((FLOAT,)))
    with pytest.raises(ModelError, match="needs at least one class"):
        replace(spec, classes=())
    with pytest.raises(ModelError, match=r"temperature is 2\.0 for a model that returns probabil"):
        ClassOutput("none", 2.0)
    with pytest.raises(ModelError, match="each needs a name of its own"):
        ValueOutput((FLOAT, replace(FLOAT, dtype="int8", nodata=-1)))
    with pytest.raises(ModelError, match="'observations' counts clear"):
        ValueOutput((Layer("observations", "float32"),))
    with pytest.raises(ModelError, match=r"activation is 'softmx'; expected one of.*softmax"):
        ClassOutput("softmx")  # type: ignore[arg-type]


def sets_of(probability: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """The oracle ``(class, row, col)``: at least the threshold, and the most likely."""
    inside = probability >= np.array(thresholds, np.float32)[:, None, None]
    np.put_along_axis(inside, probability.argmax(axis=0)[None], True, axis=0)
    return inside


@pytest.mark.parametrize("count", [2, 15, 16])
def test_conformal_sets_hold_classes_above_their_thresholds(count: int) -> None:
    random = np.random.default_rng(count)
    probability = random.dirichlet(np.full(count, 0.4), (9, 11)).astype(np.float32)
    probability = np.moveaxis(probability, -1, 0).copy()
    thresholds = tuple(np.round(random.uniform(0.1, 0.6, count), 2).tolist())
    classes = tuple(LandClass(k, f"c{k}", "#000000") for k in range(count))
    output = ClassOutput("none", conformal=ConformalSets(0.9, thresholds))
    spec = replace(BoxModel().spec, classes=classes, output=output)
    averaged = torch.from_numpy(probability)
    averaged[:, 3, 4] = float("nan")
    layers, _ = head_of(spec, torch.device("cpu")).encode(averaged, ["set_size", "class_set"])
    want = sets_of(probability, thresholds)
    known = np.ones((9, 11), bool)
    known[3, 4] = False
    assert np.array_equal(layers["set_size"].numpy()[known], want.sum(axis=0)[known])
    assert layers["set_size"][3, 4] == 255
    found = layers["class_set"].numpy()
    if count < 16:
        assert found[3, 4] == 65535
        bits = np.stack([found >> k & 1 for k in range(count)])
        assert np.array_equal(bits[:, known], want[:, known])
    else:
        assert np.array_equal(found[:, known], want[:, known])
        assert (found[:, 3, 4] == 255).all()
    names = [layer.name for layer in spec.layers()]
    assert names == ["classification", "confidence", "observations"]
    assert spec.layers(["class_set", "classification"])[0].name == "class_set"


def test_extras_are_layers_beside_those_of_the_output() -> None:
    class Extended(BoxModel):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.cat([super().__call__(batch), batch[:, :1] + 1], dim=1)

    comp, model = composite(BOX), Extended()
    model.spec = replace(model.spec, extras=(Layer("disagreement", "uint8", scale=0.01),))
    plain = predict(comp, BoxModel())
    assert predict(comp, model).drop_attrs().equals(plain.drop_attrs())
    names = ["classification", "confidence", "observations", "disagreement"]
    found = predict(comp, model, layers=names)
    assert predict(comp.chunk(y=20), model, layers=names).equals(found)
    seen = (found.classification != 255).values
    want = np.nan_to_num(comp.values[0, 0])[seen] + 1
    assert abs(found.disagreement.values[seen] * 0.01 - want).max() <= 0.005 + 1e-6
    assert (found.disagreement.values[~seen] == 255).all()
    with pytest.raises(ModelError, match="repeated layers"):
        replace(model.spec, extras=(Layer("confidence"),))


def test_a_network_keeps_the_numbers_that_it_returned() -> None:
    """Windows are weighted beside them: a network may return what it holds."""

    class Held(Numbers):
        held = torch.rand(1, 2, 22, 22)

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return self.held[: len(batch)]

    output = ValueOutput((FLOAT, replace(FLOAT, name="width")))
    before = Held.held.clone()
    predict(composite(BOX), Held(output, "hann"))
    assert torch.equal(Held.held, before)
