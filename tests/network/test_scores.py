"""What a network returns is checked where it is used, and refused with what to return."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from box_model import BOX, BoxModel, composite
from torch.nn import functional

from rsscale.errors import ModelError
from rsscale.legend.classes import LandClass
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.scores import are_probabilities
from rsscale.prediction.predict import predict

Change = Callable[[torch.Tensor], object]


class Changed(BoxModel):
    """The box model, whose scores are changed."""

    def __init__(self, change: Change, stride: int = 16) -> None:
        super().__init__(stride)
        self.change = change

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return self.change(super().__call__(batch))  # type: ignore[return-value]


WRONG: dict[str, tuple[Change, str]] = {
    "smaller": (lambda s: s[..., 1:-1, 1:-1], r"\(1, 2, 20, 20\).*expected \(1, 2, 22, 22\).*pad"),
    "half": (lambda s: functional.avg_pool2d(s, 2), "upsample"),
    "twice": (lambda s: functional.interpolate(s, scale_factor=2), "downsample"),
    "classes last": (lambda s: s.permute(0, 2, 3, 1), "permute"),
    "class numbers": (lambda s: s.argmax(1), "a score for each class"),
    "class numbers, one channel": (lambda s: s.argmax(1, keepdim=True), "activation='sigmoid'"),
    "one logit": (lambda s: s[:, 1:], r"ClassOutput\(activation='sigmoid'\)"),
    "a third class": (lambda s: torch.cat([s, s[:, :1]], 1), "return 2 channels, one for each"),
    "without batch": (lambda s: s[0], "a score for each class"),
    "dict": (lambda s: {"out": s, "aux": s}, r"a dict with the keys \['out', 'aux'\]"),
    "tuple": (lambda s: (s, s), "a tuple of 2"),
    "array": (lambda s: s.numpy(), "a ndarray"),
    "none": (lambda _: None, "a NoneType"),
    "integers": (lambda s: s.round().long(), r"torch\.int64.*before softmax"),
    "yes and no": (lambda s: s > 0, r"torch\.bool"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_other_results_are_refused(change: Change, message: str) -> None:
    comp = composite(BOX)
    with pytest.raises(ModelError, match=message) as error:
        predict(comp, Changed(change))
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match=message):
        predict(comp.chunk(y=30, x=30), Changed(change)).compute(scheduler="synchronous")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_will_do(dtype: torch.dtype) -> None:
    comp = composite(BOX)
    found = predict(comp, Changed(lambda s: s.to(dtype)))
    assert (found.classification == predict(comp, BoxModel()).classification).mean() > 0.97


def test_a_single_class_is_refused_wherever_it_would_be_mapped() -> None:
    model = BoxModel()
    spec = model.spec
    model.spec = ModelSpec(
        "sigmoid", spec.inputs, (LandClass(1, "water", "#0000ff"),), spec.lattice, "own"
    )
    with pytest.raises(
        ModelError, match=r"one class, 'water'.*name both classes.*activation='sigmoid'"
    ):
        predict(composite(BOX), model)


def test_the_advice_for_a_sigmoid_gives_its_probability() -> None:
    comp = composite(BOX)
    two = predict(comp, BoxModel(), probability=True)
    one = Changed(lambda s: s[:, 1:] - s[:, :1])
    one.spec = replace(one.spec, output=ClassOutput(activation="sigmoid"))
    found = predict(comp, one, probability=True)
    difference = found.probability.astype(int) - two.probability.astype(int)
    assert abs(difference).max() <= 1  # rounded at another bit
    assert (found.classification == two.classification).mean() > 0.999


def test_probabilities_are_told_from_scores(caplog: pytest.LogCaptureFixture) -> None:
    scores = torch.randn(1, 3, 8, 8)
    assert are_probabilities(torch.softmax(scores, 1))
    for other in (scores, scores.sigmoid(), torch.full((1, 3, 2, 2), float("nan")), scores * 0):
        assert not are_probabilities(other)
    with caplog.at_level(logging.WARNING, "rsscale"):
        predict(composite(BOX), Changed(lambda s: s.softmax(1), stride=32), batch=2)
    assert "confidences are too low: return the scores before softmax" in caplog.text


def test_pixels_without_a_number_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken(scores: torch.Tensor) -> torch.Tensor:
        scores[..., 5, 5] = float("inf")
        return scores

    with caplog.at_level(logging.WARNING, "rsscale"):
        found = predict(composite(BOX), Changed(broken))
    assert found.attrs["non_finite"] > 0
    assert f"no number for {found.attrs['non_finite']} pixels" in caplog.text
    assert (np.asarray(found.classification) == 255).sum() >= found.attrs["non_finite"]
