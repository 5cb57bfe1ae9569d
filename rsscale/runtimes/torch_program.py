"""Programs of torch.export: a network with its code, in one file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsscale.errors import ModelError
from rsscale.importing.user_code import error_line
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import WindowBatch, blank_batch, shapes_text

# Operators and which of their arguments says whether they are in the mode of training.
_TRAINING = {
    "batch_norm": 5,
    "native_batch_norm": 5,
    "dropout": 2,
    "native_dropout": 2,
    "feature_dropout": 2,
    "alpha_dropout": 2,
}
_ALWAYS_TRAINING = ("_native_batch_norm_legit_functional", "_native_batch_norm_legit.no_stats")
_TOLERANCE = 1e-3


def open_program(path: Path, *, by_one: bool = False) -> nn.Module:
    """Open a program, whose file is trusted to run code.

    Parameters
    ----------
    path : Path
    by_one : bool
        Whether it is given windows one at a time, as models that find objects are.

    Raises
    ------
    ModelError
        When it is none, was exported for a fixed number of windows, or in the mode of training.
    """
    # Sample inputs and constants in the archive are pickles, read with weights_only=False.
    try:
        program = torch.export.load(path)
    except Exception as error:  # noqa: BLE001 -- torch raises whatever its archive reader meets
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} can't be opened as a torch.export program: {reason}") from None
    check_program(program, str(path), by_one=by_one)
    module: nn.Module = program.module()
    return module


def check_program(program: Any, name: str, *, by_one: bool = False) -> None:
    """Refuse a program that was exported so that its results would not be those of its network.

    Parameters
    ----------
    program : torch.export.ExportedProgram
    name : str
        In messages.
    by_one : bool
        Whether it is given windows one at a time.

    Raises
    ------
    ModelError
    """
    for operator, number in _operators_in_training(program):
        raise ModelError(
            f"{name} was exported in the mode of training: {operator} (node {number}) uses "
            "statistics of its window, or chance; export network.eval()"
        )
    fixed = _fixed_batch(program)
    if fixed is not None and not (by_one and fixed == 1):
        raise ModelError(
            f"{name} was exported for exactly {fixed} window{'s' if fixed > 1 else ''} at once; "
            "export it with dynamic_shapes, dimension 0 of each input a torch.export.Dim('n'), and "
            "an example of two windows"
        )


def _operators_in_training(program: Any) -> Iterator[tuple[str, int]]:
    for number, node in enumerate(program.graph.nodes):
        if node.op != "call_function":
            continue
        target = str(node.target).removeprefix("aten.")
        place = _TRAINING.get(target.split(".")[0])
        if place is not None and len(node.args) > place and node.args[place] is True:
            yield target.split(".")[0], number
        if target.startswith(_ALWAYS_TRAINING):
            yield "batch_norm", number


def _fixed_batch(program: Any) -> int | None:
    """The number of windows that a program was exported for; None for any number."""
    try:
        users = set(program.graph_signature.user_inputs)
        values = [node.meta["val"] for node in program.graph.nodes if node.name in users]
        sizes = [value.shape[0] for value in values if isinstance(value, torch.Tensor)]
    except (AttributeError, KeyError, IndexError):
        return None  # trying it on a window shows what is wrong
    fixed = [size for size in sizes if isinstance(size, int)]
    return fixed[0] if fixed and len(fixed) == len(sizes) else None


def write_program(module: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Export a network for any number of windows, of any size where it can be.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : ModelSpec
    path : Path
        A ``.pt2`` file.

    Raises
    ------
    ModelError
        When torch can't export it, or what it exports returns other numbers.
    """
    auto = torch.export.Dim.AUTO
    # Windows of objects go in one by one, and how many boxes come out depends on their values.
    by_one = spec.finds_objects
    example = _given(blank_batch(spec, 1 if by_one else 2, spec.lattice.window))
    _check_takes(module, spec, example)
    reason = ""
    for size in ({},) if by_one else ({2: auto, 3: auto}, {}):
        # Windows of one size do where the network can't say what it does to others.
        dims = None if by_one else (_dims(example, spec, size),)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about torch's own ways
                program = torch.export.export(module, (example,), dynamic_shapes=dims)
            check_program(program, f"model {spec.name!r}", by_one=by_one)
            _check_same(module, program.module(), spec)
            torch.export.save(program, path)
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 -- torch.export raises anything of anybody's code
            reason = error_line(error)[:200]
        else:
            return
    raise ModelError(
        f"model {spec.name!r}, a {type(module).__name__}, can't be exported by torch.export "
        f"({reason}); save it by the name of a function that makes it: "
        "rs.Model.of(network, architecture='module:function', …), with "
        "RSSCALE_ARCHITECTURES=module where it is opened"
    )


def _check_takes(module: nn.Module, spec: ModelSpec, example: Any) -> None:
    """Refuse a network that does not take windows of its contract: no export would mend that."""
    try:
        with torch.inference_mode():
            module(example)
    except Exception as error:  # noqa: BLE001 -- a network may raise anything
        raise ModelError(
            f"model {spec.name!r}, a {type(module).__name__}, can't predict a window of "
            f"{spec.channels} channels: {error_line(error)[:200]}; it was given "
            f"{shapes_text(example)}, as its inputs say"
        ) from None


def _given(batch: WindowBatch) -> Any:
    if batch.spec.layout == "channels":
        return batch.channels.contiguous()
    if batch.spec.layout == "series":
        return batch[batch.spec.inputs[0].name].contiguous()
    return {name: value.contiguous() for name, value in batch.items()}


def _dims(example: Any, spec: ModelSpec, size: dict[int, Any]) -> Any:
    batch = torch.export.Dim("n")
    if isinstance(example, torch.Tensor):
        first = 0 if spec.layout == "channels" else 1
        return {0: batch, **{axis + first: dim for axis, dim in size.items()}}
    return {
        name: {
            0: batch,
            **({value.ndim - 4 + a: d for a, d in size.items()} if value.ndim > 2 else {}),
        }
        for name, value in example.items()
    }


def _check_same(module: nn.Module, program: nn.Module, spec: ModelSpec) -> None:
    """Refuse a program that returns other numbers than its network, for another batch."""
    random = torch.Generator().manual_seed(0)
    batch = blank_batch(spec, 1 if spec.finds_objects else 3, spec.lattice.window)
    batch = batch.with_channels(torch.randn(batch.channels.shape, generator=random))
    with torch.inference_mode():
        pairs = zip(_tensors(module(_given(batch))), _tensors(program(_given(batch))), strict=True)
        for value, other in pairs:
            if value.shape != other.shape or not torch.allclose(
                value.float(), other.float(), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
            ):
                raise ModelError(
                    f"model {spec.name!r} can't be exported: torch.export made a program that "
                    "returns other numbers, as of a network that decides by its values; save it "
                    "by the name of a function that makes it (architecture='module:function')"
                )


def _tensors(returned: Any) -> Iterator[torch.Tensor]:
    if isinstance(returned, torch.Tensor):
        yield returned
    elif isinstance(returned, dict):
        for value in returned.values():
            yield from _tensors(value)
    elif isinstance(returned, list | tuple):
        for value in returned:
            yield from _tensors(value)
