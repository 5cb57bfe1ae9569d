"""Scores of what a model says at samples that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Accuracy of classes.

    Attributes
    ----------
    names : tuple of str
        Of the K classes.
    confusion : int64 array (K, K)
        Samples; rows: what the model says, columns: what is there.
    """

    names: tuple[str, ...]
    confusion: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, names: Sequence[str], predicted: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]
    ) -> ClassScores:
        """Of numbers of classes ``(N,)``."""
        count = len(names)
        pairs = np.bincount(predicted * count + truth, minlength=count**2)
        return cls(tuple(names), pairs.reshape(count, count).astype(np.int64))

    def __add__(self, other: Scores) -> ClassScores:
        """Of the samples of both, of the same classes."""
        if not isinstance(other, ClassScores) or other.names != self.names:
            return NotImplemented
        return ClassScores(self.names, self.confusion + other.confusion)

    @property
    def count(self) -> int:
        """Samples."""
        return int(self.confusion.sum())

    @property
    def samples(self) -> dict[str, int]:
        """Samples of each class."""
        return {n: int(s) for n, s in zip(self.names, self.confusion.sum(axis=0), strict=True)}

    @property
    def accuracy(self) -> float:
        """Share of samples that are right; NaN without any."""
        return float(np.trace(self.confusion) / self.count) if self.count else float("nan")

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that occur of the share of their samples that are right."""
        there = self.confusion.sum(axis=0)
        shares = np.diag(self.confusion)[there > 0] / there[there > 0]
        return float(shares.mean()) if len(shares) else float("nan")

    @property
    def f1(self) -> dict[str, float]:
        """F1 of each class; NaN for one that does not occur, which can't be estimated."""
        there, said = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        right = np.diag(self.confusion)
        return {
            name: float(2 * right[k] / (there[k] + said[k])) if there[k] else float("nan")
            for k, name in enumerate(self.names)
        }

    @property
    def users_accuracy(self) -> dict[str, float]:
        """Of what is said to be a class, the share that is it; NaN where nothing is."""
        return self._shares(self.confusion.sum(axis=1))

    @property
    def producers_accuracy(self) -> dict[str, float]:
        """Of what is a class, the share that is said to be it; NaN where nothing is."""
        return self._shares(self.confusion.sum(axis=0))

    def _shares(self, whole: npt.NDArray[np.int64]) -> dict[str, float]:
        right = np.diag(self.confusion)
        return {
            name: float(right[k] / whole[k]) if whole[k] else float("nan")
            for k, name in enumerate(self.names)
        }

    @property
    def figure(self) -> float:
        """The one that models are chosen by, the larger the better: balanced accuracy."""
        return self.balanced_accuracy

    def line(self) -> str:
        """Both accuracies."""
        return f"accuracy {self.accuracy:.3f}, balanced {self.balanced_accuracy:.3f}"

    def lines(self) -> list[str]:
        """A table of classes."""
        width = max(5, *(len(name) for name in self.names))
        rows = [f"  {'class':<{width}}  {'F1':>13}  {'samples':>8}"]
        for name, value in self.f1.items():
            f1_text = f"{value:.3f}" if np.isfinite(value) else "not estimable"
            rows.append(f"  {name:<{width}}  {f1_text:>13}  {self.samples[name]:>8,}")
        return rows


@dataclass(frozen=True, eq=False)
class ValueScores:
    """Errors of values.

    Attributes
    ----------
    names : tuple of str
        Of the Q quantities.
    errors : float64 array (N, Q)
        What the model says minus what is there.
    truth : float64 array (N, Q)
    """

    names: tuple[str, ...]
    errors: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]

    def __add__(self, other: Scores) -> ValueScores:
        """Of the samples of both, of the same quantities."""
        if not isinstance(other, ValueScores) or other.names != self.names:
            return NotImplemented
        errors, truth = zip((self.errors, self.truth), (other.errors, other.truth), strict=True)
        return ValueScores(self.names, np.concatenate(errors), np.concatenate(truth))

    @property
    def count(self) -> int:
        """Samples."""
        return len(self.errors)

    @property
    def rmse(self) -> dict[str, float]:
        """Root of the mean squared error of each quantity; NaN without samples."""
        return self._each(self._mean_square())

    @property
    def bias(self) -> dict[str, float]:
        """Mean error of each quantity."""
        return self._each(self.errors.mean(axis=0) if self.count else self._none())

    @property
    def r2(self) -> dict[str, float]:
        """Share of the variance that is explained; NaN where there is none."""
        if not self.count:
            return self._each(self._none())
        spread = self.truth.var(axis=0)
        share = 1 - self._mean_square() ** 2 / np.where(spread > 0, spread, np.nan)
        return self._each(share)

    @property
    def figure(self) -> float:
        """The one that models are chosen by, the larger the better: mean R2."""
        return float(np.mean(list(self.r2.values())))

    def line(self) -> str:
        """All root mean squared errors."""
        return "RMSE " + ", ".join(f"{name} {value:.4g}" for name, value in self.rmse.items())

    def lines(self) -> list[str]:
        """A table of quantities."""
        width = max(8, *(len(name) for name in self.names))
        rows = [f"  {'quantity':<{width}}  {'RMSE':>10}  {'bias':>10}  {'R2':>6}"]
        rows += [
            f"  {name:<{width}}  {self.rmse[name]:>10.4g}  {self.bias[name]:>10.4g}"
            f"  {self.r2[name]:>6.3f}"
            for name in self.names
        ]
        return rows

    def _mean_square(self) -> npt.NDArray[np.float64]:
        return np.sqrt((self.errors**2).mean(axis=0)) if self.count else self._none()

    def _none(self) -> npt.NDArray[np.float64]:
        return np.full(len(self.names), np.nan)

    def _each(self, values: npt.NDArray[np.float64]) -> dict[str, float]:
        return {name: float(value) for name, value in zip(self.names, values, strict=True)}


Scores = ClassScores | ValueScores
