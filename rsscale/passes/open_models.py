"""Cache of a process's open models: each is opened once and kept while it is used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection

from rsscale.cluster.profile import NumericProfile
from rsscale.learn.accelerate import accelerate
from rsscale.learn.model import Model
from rsscale.learn.weights import open_frozen
from rsscale.steps.attachments import Attachment, Kept

_KEPT = 4

_Key = tuple[str, NumericProfile]
_models: OrderedDict[_Key, Model] = OrderedDict()
_compared: set[_Key] = set()
_opening = threading.Lock()


def opened(model: Attachment | Kept, profile: NumericProfile, trust: Collection[str] = ()) -> Model:
    """The model, computing as the profile says; opened at the first call of a process.

    ``trust`` are the digests of models that may be programs.
    """
    key = model.digest, profile
    with _opening:
        if key not in _models:
            profile.apply()  # the number of threads becomes part of compiled code
            _models[key] = accelerate(
                open_frozen(model.folder, device=profile.device, trust=trust),
                precision=profile.precision,
                compile=profile.compile,
                batch=profile.batch,
            )
            while len(_models) > _KEPT:
                _models.popitem(last=False)
        _models.move_to_end(key)
        return _models[key]


def plain_once(
    model: Attachment | Kept, profile: NumericProfile, trust: Collection[str] = ()
) -> Model | None:
    """The model as it lies on disk, at the first call in a process; then None."""
    key = model.digest, profile
    with _opening:
        if key in _compared:
            return None
        _compared.add(key)
    return open_frozen(model.folder, device=profile.device, trust=trust)
