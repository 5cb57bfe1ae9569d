"""Keep what was read of a recipe's labels in files, a part for each task that is done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from rsscale import durable
from rsscale.errors import StorageError
from rsscale.inference.constant_pixels import fold_constant
from rsscale.reference.unused_labels import UnusedLabels
from rsscale.sampling.chip_task import Arrays, ChipPart
from rsscale.sampling.stored_images import StoredImages


class ChipParts:
    """The parts in a folder.

    Images lie in one file, each at its place; all else of a part in a file of its own, which is
    written last: a part is done when it is there.

    Parameters
    ----------
    folder : Path
        It exists.
    shape : tuple of int, optional
        Of all images, ``(N, C, H, W)``; none are kept when omitted.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...] | None = None) -> None:
        self._folder = folder
        self.images = None if shape is None else StoredImages.create(folder / "images.npy", shape)

    def __contains__(self, number: int) -> bool:
        return self._path(number).exists()

    def write(self, part: ChipPart) -> None:
        """Keep a part, durably.

        Raises
        ------
        StorageError
            When it can't be written.
        """
        arrays = dict(part.arrays)
        header = {
            "unused": part.unused.to_dict(),
            "thinned": part.thinned,
            "missing": part.missing,
            "decoded": part.decoded,
            "constant": part.constant,
        }
        try:
            if self.images is not None:
                self.images.write(part.first, arrays.pop("images"))
            arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            data = save(arrays, {"part": json.dumps(header)})
            durable.replace(self._path(part.number), lambda file: file.write(data))
        except OSError as error:
            raise StorageError(
                f"chips can't be kept in {self._folder}: {error.strerror or error}; free some "
                "space, then the same command goes on"
            ) from error

    def read(self, number: int) -> tuple[Arrays, dict[str, Any]]:
        """Arrays of a part but its images, and all else that is kept of it."""
        with safe_open(self._path(number), "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, json.loads(file.metadata()["part"])

    def join(self, count: int) -> tuple[Arrays, ChipPart]:
        """Arrays of the first ``count`` parts one after the other, and what was counted of all."""
        parts: dict[str, list[Any]] = {}
        total, thinned, missing = UnusedLabels(), Counter[int](), dict[str, str]()
        decoded, constant = 0, dict[str, float]()
        for arrays, header in self._all(count):
            for name, array in arrays.items():
                parts.setdefault(name, []).append(array)
            total += UnusedLabels.from_dict(header["unused"])
            thinned.update({int(value): n for value, n in header["thinned"].items()})
            missing |= header["missing"]
            decoded += header["decoded"]
            constant = fold_constant([constant, header["constant"]])
        joined = {name: np.concatenate(some) for name, some in parts.items()}
        return joined, ChipPart(0, 0, {}, total, thinned, missing, decoded, constant)

    def _all(self, count: int) -> Iterator[tuple[Arrays, dict[str, Any]]]:
        return (self.read(number) for number in range(count))

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.safetensors"
