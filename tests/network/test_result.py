"""Results of networks that lie elsewhere in the window, are coarser, or one of several."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from box_model import BOX, BoxModel, composite
from torch import nn

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice
from rsscale.learn.models import Model
from rsscale.model.outputs import ResultLayout
from rsscale.prediction.predict import predict


class Boxes(nn.Module):
    """The scores of the box model, changed."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.box, self.change = BoxModel(), change

    def forward(self, batch: torch.Tensor) -> Any:
        return self.change(self.box(batch))


def model(change: Callable[[torch.Tensor], Any], result: ResultLayout, **changes: Any) -> Model:
    spec = replace(BoxModel().spec, result=result, **changes)
    return Model(spec, Boxes(change).eval(), torch.device("cpu"))


SAME = {
    "smaller": (lambda s: s[..., 3:-3, 3:-3], ResultLayout(margin=3)),
    "a little smaller": (lambda s: s[..., 1:-1, 1:-1], ResultLayout(margin=1)),
    "in a dict": (lambda s: {"aux": s * 0, "out": s}, ResultLayout("out")),
    "second of a tuple": (lambda s: (s * 0, s), ResultLayout(1)),
    "last of a list": (lambda s: [s * 0, s], ResultLayout(-1)),
    "smaller, in a dict": (lambda s: {"out": s[..., 2:-2, 2:-2]}, ResultLayout("out", margin=2)),
}


@pytest.mark.parametrize(("change", "result"), SAME.values(), ids=SAME.keys())
def test_the_result_is_found(change: Callable[[torch.Tensor], Any], result: ResultLayout) -> None:
    comp = composite(BOX)
    assert predict(comp, model(change, result)).equals(predict(comp, BoxModel()))


def test_a_coarser_result_stands_for_the_pixels_that_it_lies_in() -> None:
    comp, lattice = composite(BOX, gaps=False), Lattice(16, 4)
    coarse = model(
        lambda s: torch.nn.functional.avg_pool2d(s, 4), ResultLayout(factor=4), lattice=lattice
    )
    found = predict(comp, coarse).classification.values
    first_row, first_col = -BOX.row0 % 4, -BOX.col0 % 4  # blocks are counted from the origin
    rows, cols = ((n - a) // 4 * 4 for n, a in zip(BOX.shape, (first_row, first_col), strict=True))
    blocks = found[first_row : first_row + rows, first_col : first_col + cols]
    blocks = blocks.reshape(rows // 4, 4, cols // 4, 4)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert len(set(blocks[:, 0, :, 0].ravel().tolist())) == 2


WRONG = {
    "another size": (lambda s: s, ResultLayout(margin=3), r"\(1, 2, 22, 22\) for a window of 22"),
    "no such key": (lambda s: {"out": s}, ResultLayout("logits"), r"keys \['out'\].*'logits'"),
    "no mapping": (lambda s: s, ResultLayout("out"), "returns a Tensor; its contract takes 'out'"),
    "too few": (lambda s: (s,), ResultLayout(1), "a tuple of 1; its contract takes 1"),
}


@pytest.mark.parametrize(("change", "result", "message"), WRONG.values(), ids=WRONG.keys())
def test_another_result_is_refused(
    change: Callable[[torch.Tensor], Any], result: ResultLayout, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        predict(composite(BOX), model(change, result))


def test_windows_that_do_not_hold_the_result_are_refused() -> None:
    spec = BoxModel().spec
    with pytest.raises(ModelError, match="no result for 4 px along its windows' edges"):
        replace(spec, result=ResultLayout(margin=4))
    with pytest.raises(ModelError, match=r"of which 0 px may be missing.*blend: trim"):
        replace(spec, lattice=Lattice(16, 3, "hann"), result=ResultLayout(margin=1))
    with pytest.raises(ModelError, match=r"stride 16 and halo 3 must be multiples"):
        replace(spec, result=ResultLayout(factor=2))
    with pytest.raises(ModelError, match="is no whole number of pixels of 5 px"):
        replace(spec, result=ResultLayout(factor=5))


def test_one_answer_for_a_window_is_that_of_its_pixels() -> None:
    comp, lattice = composite(BOX, gaps=False), Lattice(16, 0)
    scenes = model(lambda s: s.mean(dim=(2, 3)), ResultLayout(factor=16), lattice=lattice)
    found = predict(comp, scenes).classification.values
    rows, cols = -BOX.row0 % 16, -BOX.col0 % 16
    window = found[rows : rows + 16, cols : cols + 16]
    assert (window == window[0, 0]).all()
    assert len(set(found.ravel().tolist())) == 2
