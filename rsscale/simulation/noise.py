"""Random fields that are pure functions of map coordinates.

Every field is built on lattices whose nodes get their value from an integer hash of (column,
row, salt). So any window of any field can be evaluated alone and has the same values,
whatever else is evaluated, and in which order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Indices = npt.NDArray[Any]

_UNIT = np.float32(2.0**-24)
# Each octave is turned by about this angle, so that lattice directions do not show.
_TURN = (np.cos(0.65), np.sin(0.65))


def hashed(*keys: Any, salt: int) -> npt.NDArray[np.uint32]:
    """32 well mixed bits for integer keys, which broadcast against each other."""
    state = _mix(np.asarray([salt & 0xFFFFFFFF], np.uint32))
    for key in keys:
        bits = (np.atleast_1d(np.asarray(key)).astype(np.int64) & 0xFFFFFFFF).astype(np.uint32)
        state = _mix(state ^ (bits * np.uint32(0x9E3779B9)))
    return state


def _mix(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The finaliser ``lowbias32`` (https://nullprogram.com/blog/2018/07/31/)."""
    bits = bits ^ (bits >> np.uint32(16))
    bits = bits * np.uint32(0x21F0AAAD)
    bits = bits ^ (bits >> np.uint32(15))
    bits = bits * np.uint32(0xD35A2D97)
    return bits ^ (bits >> np.uint32(15))


def uniform(*keys: Any, salt: int) -> npt.NDArray[np.float32]:
    """Uniform numbers in [0, 1) for integer keys, float32."""
    high = (hashed(*keys, salt=salt) >> np.uint32(8)).astype(np.float32)
    return high * _UNIT


def value_noise(x: Floats, y: Floats, wavelength: float, salt: int) -> npt.NDArray[np.float32]:
    """Smooth noise in [0, 1], mean 0.5, with one random value a lattice node.

    Parameters
    ----------
    x, y : array
        Metres, any shape, not empty.
    wavelength : float
        Distance of the nodes, metres.
    salt : int
        Fields with different salts are independent.
    """
    column, fx = _split(x, wavelength)
    row, fy = _split(y, wavelength)
    col0, row0 = int(column.min()), int(row.min())
    columns = np.arange(col0, int(column.max()) + 2)
    rows = np.arange(row0, int(row.max()) + 2)
    nodes = uniform(columns[None, :], rows[:, None], salt=salt).ravel()
    width = len(columns)
    at = (row - row0) * width + (column - col0)
    wx, wy = _smooth(fx), _smooth(fy)
    upper, upper_right = nodes[at], nodes[at + 1]
    lower, lower_right = nodes[at + width], nodes[at + width + 1]
    top = upper + (upper_right - upper) * wx
    bottom = lower + (lower_right - lower) * wx
    out: npt.NDArray[np.float32] = top + (bottom - top) * wy
    return out


def _split(values: Floats, wavelength: float) -> tuple[Indices, npt.NDArray[np.float32]]:
    scaled = np.asarray(values, np.float64) / wavelength
    whole = np.floor(scaled)
    return whole.astype(np.int64), (scaled - whole).astype(np.float32)


def _smooth(t: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    out: npt.NDArray[np.float32] = t * t * t * (t * (t * 6 - 15) + 10)
    return out


def fractal_noise(
    x: Floats, y: Floats, wavelength: float, octaves: int, salt: int, gain: float = 0.5
) -> npt.NDArray[np.float32]:
    """Sum of ``octaves`` of value noise, each half as wide; in [0, 1], mean 0.5."""
    total = np.zeros(np.shape(x), np.float32)
    weight, norm = 1.0, 0.0
    cos, sin = _TURN
    for octave in range(octaves):
        total += np.float32(weight) * value_noise(x, y, wavelength, salt + 7919 * octave)
        norm += weight
        weight *= gain
        wavelength /= 2
        x, y = cos * x - sin * y, sin * x + cos * y
    return total / np.float32(norm)


@dataclass(frozen=True)
class Cells:
    """The nearest seed of a jittered lattice, for each point.

    Attributes
    ----------
    column, row : array of int
        The lattice cell of the nearest seed: its identity.
    dx, dy : array of float32
        From the seed to the point, metres.
    edge : array of float32
        Distance to the border with the second nearest seed, metres.
    """

    column: Indices
    row: Indices
    dx: npt.NDArray[np.float32]
    dy: npt.NDArray[np.float32]
    edge: npt.NDArray[np.float32]


def cells(x: Floats, y: Floats, spacing: float, jitter: float, salt: int) -> Cells:
    """Voronoi cells of seeds that lie ``jitter * spacing`` at most off a lattice's centres."""
    column, fx = _split(x, spacing)
    row, fy = _split(y, spacing)
    shape = np.shape(x)
    first, second = np.full(shape, np.inf, np.float32), np.full(shape, np.inf, np.float32)
    near_dx, near_dy = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    far_dx, far_dy = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    step = np.zeros(shape, np.int8)
    seeds = _Seeds.around(column, row, jitter, salt)
    for number in range(9):
        down, right = number // 3 - 1, number % 3 - 1
        seed_x, seed_y = seeds.at(column + right, row + down)
        dx, dy = fx - right - seed_x, fy - down - seed_y
        distance = dx * dx + dy * dy
        nearer = distance < first
        closer = ~nearer & (distance < second)
        second = np.where(nearer, first, np.where(closer, distance, second))
        far_dx = np.where(nearer, near_dx, np.where(closer, dx, far_dx))
        far_dy = np.where(nearer, near_dy, np.where(closer, dy, far_dy))
        first = np.where(nearer, distance, first)
        near_dx, near_dy = np.where(nearer, dx, near_dx), np.where(nearer, dy, near_dy)
        step = np.where(nearer, np.int8(number), step)
    apart = np.hypot(near_dx - far_dx, near_dy - far_dy)
    edge = (second - first) / np.maximum(2 * apart, np.float32(1e-6))
    metres = np.float32(spacing)
    return Cells(
        column + step % 3 - 1, row + step // 3 - 1,
        near_dx * metres, near_dy * metres, edge * metres,
    )  # fmt: skip


@dataclass(frozen=True)
class _Seeds:
    """Seed positions of a range of cells, as fractions of a cell."""

    column0: int
    row0: int
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]

    @classmethod
    def around(cls, column: Indices, row: Indices, jitter: float, salt: int) -> _Seeds:
        columns = np.arange(int(column.min()) - 1, int(column.max()) + 2)[None, :]
        rows = np.arange(int(row.min()) - 1, int(row.max()) + 2)[:, None]
        spread, centre = np.float32(2 * jitter), np.float32(0.5 - jitter)
        return cls(
            int(columns[0, 0]),
            int(rows[0, 0]),
            uniform(columns, rows, salt=salt) * spread + centre,
            uniform(columns, rows, salt=salt + 1) * spread + centre,
        )

    def at(self, column: Indices, row: Indices) -> tuple[Floats, Floats]:
        place = (row - self.row0) * self.x.shape[1] + (column - self.column0)
        return self.x.ravel()[place], self.y.ravel()[place]


def intervals(
    t: Floats, length: Floats, block: Cells, sub: Any, salt: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Number of the uneven interval that each ``t`` lies in, and the distance to its ends."""
    scaled = t / length
    near = np.floor(scaled + 0.5).astype(np.int64)

    def border(number: Any) -> Floats:
        shift = uniform(block.column, block.row, sub, number, salt=salt) - np.float32(0.5)
        moved: Floats = (number + 0.6 * shift).astype(np.float32)
        return moved

    middle = border(near)
    right = scaled >= middle
    number = np.where(right, near, near - 1)
    other = border(np.where(right, near + 1, near - 1))
    edge = np.minimum(np.abs(scaled - middle), np.abs(scaled - other)) * length
    return number, edge


def lane(distance: Floats, half: float) -> Floats:
    """Share of a 10 m pixel covered by a strip of ``2 * half`` metres, for its distance."""
    covered: Floats = np.clip((half + 5.0 - np.abs(distance)) / 10.0, 0.0, min(1.0, half / 5.0))
    return covered.astype(np.float32)
