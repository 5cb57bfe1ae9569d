"""Images in a file are those that were written, and take no memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rsscale.errors import StorageError
from rsscale.geo.lattice import Lattice
from rsscale.learners.base import Design, Loop, Task
from rsscale.learners.chips import Chips, InputBands, SelectedImages
from rsscale.learners.image_network import ImageNetwork
from rsscale.legend.classes import LandClass
from rsscale.memory import peak_rss
from rsscale.sampling.chip_parts import ChipParts
from rsscale.sampling.chip_task import ChipPart
from rsscale.sampling.stored_images import StoredImages

# A quarter of a gigabyte in parts of eight chips: four times what may be held.
COUNT, CHANNELS, WIDTH, TOGETHER = 160, 16, 160, 8
TOTAL = COUNT * CHANNELS * WIDTH**2 * 4
MOST = TOTAL // 4


def test_windows_of_chips_are_those_of_an_array(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(5, 3, 20, 30)).astype(np.float32)
    stored = StoredImages.create(tmp_path / "images.npy", images.shape)
    stored.write(3, images[3:])
    stored.write(0, images[:3])
    for key in (2, (4, slice(None), slice(3, 9), slice(0, 7)), (np.int64(1), 2), -1):
        assert np.array_equal(stored[key], images[key])
    assert np.array_equal(np.load(tmp_path / "images.npy"), images)
    some = SelectedImages(stored, np.array([4, 0]))
    assert some.shape == (2, 3, 20, 30)
    assert np.array_equal(some[0, :, 2:4], images[4, :, 2:4])
    assert np.array_equal(StoredImages.create(tmp_path / "images.npy", images.shape)[1], images[1])
    with pytest.raises(IndexError):
        stored[5]
    with pytest.raises(StorageError, match=r"expected float32 \(9, 3, 20, 30\): begin anew"):
        StoredImages.create(tmp_path / "images.npy", (9, 3, 20, 30))


def learn(chips: Chips) -> None:
    bands = tuple(f"b{number}" for number in range(CHANNELS))
    classes = (LandClass(1, "crop", "#112233"), LandClass(2, "wood", "#445566"))
    design = Design("small", "unet", {"width": 4, "depth": 2}, Lattice(64, 16))
    loop = Loop(steps=6, batch=2, validations=1)
    inputs = (InputBands("s2", bands, ("year",)),)
    learner = ImageNetwork(design, Task(classes=classes), inputs, loop)
    learner.fit(chips.subset(chips.groups > 1), chips.subset(chips.groups <= 1))


def write_and_learn(folder: Path) -> int:
    """Bytes by which a process grows that keeps chips part by part, and learns from them."""
    random = np.random.default_rng(0)
    shape = (CHANNELS, WIDTH, WIDTH)
    labels = random.integers(1, 3, (COUNT, WIDTH, WIDTH)).astype(np.uint8)
    few = random.normal(size=(TOGETHER, *shape)).astype(np.float32)
    learn(Chips(few, labels[:TOGETHER], np.arange(TOGETHER)))  # what torch takes, and the network
    before = peak_rss()
    parts = ChipParts(folder, (COUNT, *shape))
    for number in range(COUNT // TOGETHER):
        parts.write(ChipPart(number, TOGETHER * number, {"images": few + np.float32(number)}))
    learn(Chips(parts.images, labels, np.arange(COUNT)))
    return peak_rss() - before


@pytest.mark.extended
def test_memory_does_not_grow_with_the_chips(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, test_stored_images as t\n"
        "print(t.write_and_learn(pathlib.Path(sys.argv[1])))"
    )
    path = ":".join([str(Path(__file__).parent), *sys.path])
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(child.stdout) < MOST
    assert (tmp_path / "images.npy").stat().st_size > TOTAL


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ChipParts(tmp_path, (1, 1, 2, 2))

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match="No space left on device; free some space, then the"):
        parts.write(ChipPart(0, 0, {"images": np.zeros((1, 1, 2, 2), np.float32)}))
    assert 0 not in parts
