"""Join predicted windows to one map: trimmed at window lines, or blended across them.

Both take the windows in lattice order and hand on boxes of what a head made of them, such as class
probabilities. A float that windows share is summed in that order, always in float32, so its bits do
not depend on the box that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.heads import Head
from rsscale.inference.stack import rows_in_cache, strips

if TYPE_CHECKING:
    import torch

Part = tuple[PixelBox, "torch.Tensor"]
"""A box and its activated numbers ``(channel, row, col)`` float32, NaN where there are none."""


class Blender(Protocol):
    """Takes windows in lattice order and returns the rows that no later window changes."""

    def add(self, core: PixelBox, scores: torch.Tensor) -> Iterator[Part]:
        """Take a window's scores ``(C, row, col)``; parts are valid until the next call."""

    def finish(self) -> Iterator[Part]:
        """The parts that were waiting for more windows."""


def blender(lattice: Lattice, box: PixelBox, head: Head, device: torch.device) -> Blender:
    """The blender of a lattice for the map of one box."""
    if lattice.blend == "hann" and lattice.halo:
        return Hann(lattice, box, head, device)
    return Trim(lattice, box, head)


def blending_bytes(lattice: Lattice, channels: int, width: int) -> int:
    """Bytes that the blender of a box of this width holds."""
    if lattice.blend == "hann" and lattice.halo:
        # The rows that the next windows share are moved by a copy.
        return 4 * channels * (lattice.window + 2 * lattice.halo) * width
    return 0


class Trim:
    """Each pixel takes its value from the window whose core contains it."""

    def __init__(self, lattice: Lattice, box: PixelBox, head: Head) -> None:
        self._lattice, self._box, self._head = lattice, box, head

    def add(self, core: PixelBox, scores: torch.Tensor) -> Iterator[Part]:
        """The part of the window's core that is wanted, piece by piece."""
        inner = scores[(..., *core.slices(core.pad(self._lattice.halo)))]
        wanted = core & self._box
        for piece, probability in activated(self._head, core, inner, wanted):
            part = piece & wanted
            yield part, probability[(..., *part.slices(piece))]

    def finish(self) -> Iterator[Part]:
        """Nothing ever waits."""
        return iter(())


class Hann:
    """Windows weighted by raised cosines that add up to one.

    After Pielawski and Wählby 2020, "Introducing Hann windows for reducing edge-effects in
    patch-based image segmentation", https://doi.org/10.1371/journal.pone.0229839; there the
    windows overlap by half, here by ``2·halo`` px. Holds the sums of one row of
    windows: ``(channel, window, width)`` float32.
    """

    def __init__(self, lattice: Lattice, box: PixelBox, head: Head, device: torch.device) -> None:
        import torch

        self._lattice, self._box, self._head = lattice, box, head
        self._weights = torch.from_numpy(weights(lattice)).to(device)
        # Rows that no window has been added to are all zero.
        self._sum = torch.zeros(head.width, lattice.window, box.shape[1], device=device)
        self._top: int | None = None

    def add(self, core: PixelBox, scores: torch.Tensor) -> Iterator[Part]:
        """Finished rows: those above all that this window, the next in lattice order, touches."""
        share = self._lattice.influence(core)
        if self._top is not None and share.row0 > self._top:
            yield from self._parts(share.row0)
            self._drop(share.row0 - self._top)
        self._top = share.row0
        for piece, probability in activated(self._head, share, scores, share & self._box):
            part = piece & self._box
            # Not in place: of values and embeddings these are the network's own numbers.
            weighted = probability * self._weights[piece.slices(share)]
            self._held(part).add_(weighted[(..., *part.slices(piece))])

    def finish(self) -> Iterator[Part]:
        """All rows of the last windows."""
        if self._top is not None:
            yield from self._parts(self._top + self._lattice.window)

    def _parts(self, bottom: int) -> Iterator[Part]:
        """Sums of the rows that are held and lie above ``bottom``."""
        held = self._rows()
        ready = held & PixelBox(held.row0, held.col0, bottom, held.col1) & self._box
        rows = rows_in_cache(4 * self._sum.shape[0] * max(ready.shape[1], 1))
        for piece in strips(ready, rows):
            yield piece, self._held(piece)

    def _drop(self, rows: int) -> None:
        """Move up by some rows, zeros below."""
        keep = max(self._lattice.window - rows, 0)
        kept = self._sum[:, self._lattice.window - keep :].clone()
        self._sum[:, :keep] = kept
        self._sum[:, keep:] = 0.0

    def _rows(self) -> PixelBox:
        top = self._top or 0
        return PixelBox(top, self._box.col0, top + self._lattice.window, self._box.col1)

    def _held(self, box: PixelBox) -> torch.Tensor:
        return self._sum[(..., *box.slices(self._rows()))]


def weights(lattice: Lattice) -> npt.NDArray[np.float32]:
    """Weights ``(row, col)`` float32 of a window; over all windows they add up to one.

    Along each axis it rises as half a raised cosine over the ``2·halo`` px around the core's
    first line, sampled at pixel centres, and falls as its complement over those around the last.
    """
    overlap = 2 * lattice.halo
    rise = ((1 - np.cos(np.pi * (np.arange(overlap) + 0.5) / overlap)) / 2).astype(np.float32)
    axis = np.ones(lattice.window, np.float32)
    axis[:overlap] = rise
    axis[lattice.window - overlap :] = 1 - rise
    return np.outer(axis, axis)


def activated(head: Head, box: PixelBox, scores: torch.Tensor, needed: PixelBox) -> Iterator[Part]:
    """Activate scores ``(C, row, col)``, in pieces of whole rows that touch ``needed``.

    How ``box`` is cut depends on nothing but its size, so that a pixel's numbers do not either.
    Where a score is not finite, all numbers of the pixel are NaN.
    """
    on_gpu = scores.device.type == "cuda"  # one kernel for all, and never wait for a number
    rows = box.shape[0] if on_gpu else rows_in_cache(4 * scores.shape[0] * box.shape[1])
    for piece in strips(box, rows):
        if (piece & needed).empty:
            continue
        part = scores[(..., *piece.slices(box))].float().contiguous()
        numbers = head.activate(part)
        # A sum is cheap; it is finite only if all its terms are.
        if on_gpu or not bool(part.sum().isfinite()):
            numbers = numbers.masked_fill((part * 0).sum(dim=0) != 0, float("nan"))
        yield piece, numbers
