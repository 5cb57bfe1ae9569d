"""Send callables through a Dask scheduler that has neither rsscale nor torch.

A scheduler unpickles every graph that it is given, and so would import whatever a task is made of.
A sealed callable reaches it as bytes in a function of the standard library; only the worker that
calls it opens them.
"""

from __future__ import annotations

import inspect
import pickle
import types
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

import cloudpickle

P = ParamSpec("P")
R = TypeVar("R")


class Sealed(Generic[P, R]):
    """A callable that other processes unpickle when they call it, and not before.

    Parameters
    ----------
    function : callable
        Can be pickled; what it returns is not sealed.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        named = function.func if isinstance(function, partial) else function
        self.__name__ = str(getattr(named, "__name__", type(named).__name__))  # in a task's name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it in this process."""
        return self._function(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)  # Dask looks for block_id in it

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (_OPENER, _pickled(self._function))

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        return "sealed", normalize_token(self._function)


class _Opener:
    """Unpickles to a function that opens what is sealed; by value, so that nothing is imported."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (_OPEN,)


def _open(sealed: bytes, *args: Any, **kwargs: Any) -> Any:
    import pickle as standard  # of the other process: this function travels alone

    return standard.loads(sealed)(*args, **kwargs)  # noqa: S301 -- a graph's own task


def _pickled(function: Callable[..., Any]) -> bytes:
    """A callable as bytes; one of a notebook by value."""
    try:
        data = pickle.dumps(function, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        data = b""
    if not data or b"__main__" in data:
        data = cloudpickle.dumps(function, protocol=5)
    return data


def _by_value(code: types.CodeType) -> bytes:
    """A function as bytes that name no module."""
    alone = types.FunctionType(code, {})
    alone.__module__ = "__main__"
    data: bytes = cloudpickle.dumps(alone, protocol=5)
    return data


_OPENER = _Opener()
_OPEN = _by_value(_open.__code__)
