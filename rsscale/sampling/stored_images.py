"""Images in a file, of which each access maps its own part: memory does not bound their number."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import StorageError

_TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class StoredImages:
    """Images ``(N, C, H, W)`` float32 in one ``.npy`` file: :class:`rsscale.learners.chips.Images`.

    A chip is mapped for each access and let go again, so that what a process holds does not grow
    with what it has read; the system keeps in its page cache what there is room for.

    Attributes
    ----------
    path : Path
    shape : tuple of int
        ``(N, C, H, W)``.
    offset : int
        Of the first byte of the images in the file.
    """

    path: Path
    shape: tuple[int, ...]
    offset: int

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...]) -> StoredImages:
        """Make the file, if it is not there: sparse, so that it takes room as it is written.

        Raises
        ------
        StorageError
            When it can't be written.
        """
        try:
            if not path.exists():
                np.lib.format.open_memmap(path, "w+", _TYPE, shape).flush()
            mapped = np.load(path, "r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StorageError(f"the chips can't be kept in {path}: {error}") from error
        if mapped.shape != shape or mapped.dtype != _TYPE:
            raise StorageError(
                f"{path} holds {mapped.dtype} {mapped.shape}; expected {_TYPE} {shape}: begin anew "
                "with --fresh"
            )
        return cls(path, shape, int(mapped.offset))

    @property
    def chip_bytes(self) -> int:
        """Of one image."""
        return int(np.prod(self.shape[1:])) * _TYPE.itemsize

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        number, *rest = key if isinstance(key, tuple) else (key,)
        place = self.offset + range(self.shape[0])[number] * self.chip_bytes
        chip = np.memmap(self.path, _TYPE, "r", place, self.shape[1:])
        # A copy, and no view: the mapping ends with this call.
        return np.array(chip[tuple(rest)])

    def write(self, first: int, images: npt.NDArray[np.float32]) -> None:
        """Put images ``(n, C, H, W)`` from a number on, durably.

        Written and not mapped, so that they count as the system's memory alone.
        """
        handle = os.open(self.path, os.O_WRONLY)
        try:
            place = self.offset + first * self.chip_bytes
            for image in images:
                rest = memoryview(image.astype(_TYPE).tobytes())
                while rest:
                    written = os.pwrite(handle, rest, place)
                    place, rest = place + written, rest[written:]
            os.fsync(handle)
        finally:
            os.close(handle)
