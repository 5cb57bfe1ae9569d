"""Hints for keys that recipes do not have, and that people try: what to do instead."""

from __future__ import annotations

_OWN_TRAINING = (
    "train the network with torch on rsscale's composites and run it as a model of your own "
    "(docs/models.md)"
)
_TRAINING = {
    "class_weights": "balance: weights makes errors of rare classes count more, balance: sampling "
    f"draws them more often; for other weights, {_OWN_TRAINING}",
    "weights": f"training begins anew; to go on from weights, {_OWN_TRAINING}",
    "loss": f"the loss is cross-entropy; for another, {_OWN_TRAINING}",
    "ignore_index": "list classes of the labels that are none in 'ignore'",
    "remap": "list what is merged in 'merge', as in {forest: [broadleaf, conifer]}",
    "early_stopping": "patience is how many validations without a better one end the training; the "
    "weights of the best are kept",
    "epochs": "training takes 'steps', each of 'batch' crops",
    "augment": f"crops are turned, flipped and lose time windows; for more, {_OWN_TRAINING}",
}
_SAME = {
    "pretrained": "weights", "checkpoint": "weights", "resume": "weights", "init": "weights",
    "finetune": "weights", "criterion": "loss", "loss_function": "loss", "focal": "loss",
    "weight": "class_weights", "sample_weights": "class_weights", "class_weight": "class_weights",
    "ignore_classes": "ignore_index", "exclude": "ignore_index",
    "merge_classes": "remap", "mapping": "remap",
    "keep_best": "early_stopping", "max_epochs": "epochs", "augmentation": "augment",
    "augmentations": "augment", "transforms": "augment",
}  # fmt: skip


def elsewhere(group: str, key: str) -> str:
    """What to do in place of a key that a group of a recipe does not have; empty if not known."""
    if group != "train":
        return ""
    hint = _TRAINING.get(_SAME.get(key, key), "")
    return f"; {hint}" if hint else ""
