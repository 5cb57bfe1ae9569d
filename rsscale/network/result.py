"""Place the result of a network in its windows: chosen of several, padded, enlarged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rsscale.errors import ModelError
from rsscale.model.outputs import ResultLayout

if TYPE_CHECKING:
    import torch


def place_result(
    returned: Any, layout: ResultLayout, size: tuple[int, int], name: str
) -> torch.Tensor:
    """The result of a network as wide as its windows, whatever it returns.

    Parameters
    ----------
    returned : object
        What the network returned.
    layout : ResultLayout
    size : (int, int)
        Rows and columns of the windows.
    name : str
        Of the network, in messages.

    Returns
    -------
    Tensor
        ``(N, C, H, W)``: NaN along the edges for which there is no result; of a coarser one, also
        of one for the whole window ``(N, C)``, each number for all pixels that it stands for.

    Raises
    ------
    ModelError
        When there is no such result, or it has another size.
    """
    result: torch.Tensor = _selected(returned, layout.select, name)
    if layout.factor == size[0] == size[1] and getattr(result, "ndim", 0) == 2:
        result = result[:, :, None, None]  # one answer for the whole window
    if layout == ResultLayout(layout.select):
        return result
    import torch

    rows, cols = (layout.width(length) for length in size)
    if result.ndim != 4 or tuple(result.shape[-2:]) != (rows, cols):
        raise ModelError(
            f"{name} returns {tuple(result.shape)} for a window of {size[0]} x {size[1]} px; its "
            f"contract says (N, C, {rows}, {cols}): {layout.margin} px less on each side, one "
            f"number for {layout.factor} px"
        )
    if layout.factor > 1:
        result = result.repeat_interleave(layout.factor, 2).repeat_interleave(layout.factor, 3)
    margin = (layout.margin,) * 4
    return torch.nn.functional.pad(result.float(), margin, value=float("nan"))


def _selected(returned: Any, select: str | int | None, name: str) -> Any:
    if select is None:
        return returned
    if isinstance(select, str) and isinstance(returned, Mapping):
        if select in returned:
            return returned[select]
        kind = f"a {type(returned).__name__} with the keys {[str(key) for key in returned]}"
    elif isinstance(select, int) and isinstance(returned, Sequence):
        if -len(returned) <= select < len(returned):
            return returned[select]
        kind = f"a {type(returned).__name__} of {len(returned)}"
    else:
        kind = f"a {type(returned).__name__}"
    raise ModelError(f"{name} returns {kind}; its contract takes {select!r} of what it returns")
