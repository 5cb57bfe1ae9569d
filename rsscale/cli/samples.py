"""The command that draws a sample for interpreters: design."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rsscale.cli.application import command
from rsscale.cli.options import Cluster, RunPath
from rsscale.errors import RecipeError

_KINDS = ("class", "transition", "change")
_RASTERS = (".tif", ".tiff", ".vrt", ".img")


_To = Annotated[Path, typer.Option(help="NAME.gpkg or NAME.parquet; must not be there yet.")]
_Design = Annotated[
    Literal["simple", "stratified", "systematic", "two-stage"] | None,
    typer.Option(help="stratified when omitted."),
]
_Strata = Annotated[
    list[str] | None,
    typer.Option(
        help="class, transition (each pair of classes), change (what changed as one), a file "
        "of polygons with --id, or a raster; several are crossed."
    ),
]
_Id = Annotated[str | None, typer.Option("--id", help="Column of the polygons' names.")]
_Outside = Annotated[
    Literal["stratum", "leave-out"] | None,
    typer.Option(help="What becomes of what no polygon or value covers; refused when omitted."),
]
_Step = Annotated[str, typer.Option(help="Whose classes.")]
_Layer = Annotated[str | None, typer.Option(help="Another layer than the classes.")]
_Period = Annotated[
    list[int] | None, typer.Option(help="The last when omitted; two for a sample of change.")
]
_Size = Annotated[
    list[str] | None,
    typer.Option(metavar="N | STRATUM=N", help="Units in all, or of strata by name."),
]
_StandardError = Annotated[
    float | None, typer.Option(help="Target of the overall accuracy, e.g. 0.01.")
]
_AreaError = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS=HECTARES", help="Target standard error of an area."),
]
_Expected = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SHARE | CLASS=SHARE", help="Expected user's accuracy; 0.85 when omitted."
    ),
]
_Allocation = Annotated[
    Literal["olofsson", "proportional", "equal", "neyman"] | None,
    typer.Option(help="olofsson when omitted: a minimum for rare strata, then by area."),
]
_OptimalFor = Annotated[
    str | None, typer.Option(help="The class whose area neyman is optimal for.")
]
_Minimum = Annotated[int | None, typer.Option(help="Units of a rare stratum; 50.")]
_LeastHectares = Annotated[float | None, typer.Option(help="Smaller strata become one.")]
_Spacing = Annotated[float | None, typer.Option(help="Of a systematic sample, metres.")]
_Starts = Annotated[int | None, typer.Option(help="Of a systematic sample, 1.")]
_Block = Annotated[float | None, typer.Option(help="Width of a primary unit, metres.")]
_Blocks = Annotated[int | None, typer.Option(help="Primary units to draw.")]
_PerBlock = Annotated[int | None, typer.Option(help="Units in each, 10.")]
_Chosen = Annotated[
    Literal["equal", "size"] | None,
    typer.Option(help="Primary units with equal probability, or by their mapped pixels."),
]
_Seed = Annotated[int | None, typer.Option(help="Decides the draw; 0.")]
_AddTo = Annotated[
    Path | None, typer.Option(help="A sample to draw further; sizes are those to add.")
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show strata, units and errors; draw nothing.")
]
_Chips = Annotated[
    Path | None, typer.Option(help="A folder for a picture of each unit, before and after.")
]
_Lonlat = Annotated[bool, typer.Option("--lonlat", help="Columns longitude and latitude, too.")]


@command
def design(
    folder: RunPath,
    to: _To,
    design: _Design = None,
    strata: _Strata = None,
    id_: _Id = None,
    outside: _Outside = None,
    step: _Step = "map",
    layer: _Layer = None,
    period: _Period = None,
    size: _Size = None,
    standard_error: _StandardError = None,
    area_error: _AreaError = None,
    expected: _Expected = None,
    allocation: _Allocation = None,
    optimal_for: _OptimalFor = None,
    minimum: _Minimum = None,
    least_hectares: _LeastHectares = None,
    spacing: _Spacing = None,
    starts: _Starts = None,
    block: _Block = None,
    blocks: _Blocks = None,
    per_block: _PerBlock = None,
    chosen: _Chosen = None,
    seed: _Seed = None,
    add_to: _AddTo = None,
    dry_run: _DryRun = False,
    chips: _Chips = None,
    lonlat: _Lonlat = False,
    cluster: Cluster = None,
) -> None:
    """Draw a probability sample of a run's map, or of its change, for people to interpret."""
    from rsscale.sample_design.design_sample import design_sample

    given: dict[str, Any] = {
        "design": design,
        "outside": outside,
        "layer": layer,
        "periods": period or None,
        "standard_error": standard_error,
        "area_standard_errors": _by_name(area_error, "--area-error") or None,
        "expected": _expected(expected),
        "allocation": allocation,
        "optimal_for": optimal_for,
        "minimum": minimum,
        "least_hectares": least_hectares,
        "spacing": spacing,
        "starts": starts,
        "block": block,
        "blocks": blocks,
        "per_block": per_block,
        "chosen": chosen,
        "seed": seed,
        **_strata(strata or (), id_),
        **_sizes(size),
    }
    sample = design_sample(
        folder,
        to,
        step=step,
        add_to=add_to,
        dry_run=dry_run,
        lonlat=lonlat,
        chips=chips,
        client=cluster,
        **{name: value for name, value in given.items() if value is not None},
    )
    print(sample)


def _strata(strata: Sequence[str], id_: str | None) -> dict[str, Any]:
    """Kinds of strata, and their files."""
    kinds, files = [], {}
    for word in strata:
        if word in _KINDS:
            kinds.append(word)
            continue
        kind = "raster" if Path(word).suffix.lower() in _RASTERS else "regions"
        if not Path(word).exists():
            raise RecipeError(
                f"--strata is {word!r}, which is no file; expected {', '.join(_KINDS)}, or a file "
                "of polygons or a raster"
            )
        if kind in files:
            raise RecipeError(f"--strata names two files of {kind}; expected one")
        kinds.append(kind)
        files[kind] = word
    if "regions" in files and id_ is None:
        raise RecipeError(
            "--strata names a file of polygons; say with --id which column names them"
        )
    named: dict[str, Any] = {**files, "id": id_}
    return named | ({"strata": kinds} if kinds else {})


def _sizes(size: Sequence[str] | None) -> dict[str, Any]:
    if not size:
        return {}
    if len(size) == 1 and "=" not in size[0]:
        return {"size": _number(size[0], "--size", int)}
    return {"sizes": {name: int(value) for name, value in _by_name(size, "--size").items()}}


def _expected(expected: Sequence[str] | None) -> float | dict[str, float] | None:
    if not expected:
        return None
    if len(expected) == 1 and "=" not in expected[0]:
        return float(_number(expected[0], "--expected", float))
    return _by_name(expected, "--expected")


def _by_name(words: Sequence[str] | None, option: str) -> dict[str, float]:
    """``NAME=NUMBER`` for each."""
    numbers = {}
    for word in words or ():
        name, equals, value = word.rpartition("=")
        if not equals or not name:
            raise RecipeError(f"{option} is {word!r}; expected NAME=NUMBER")
        numbers[name] = float(_number(value, option, float))
    return numbers


def _number(text: str, option: str, kind: type[int | float]) -> float:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise RecipeError(f"{option} is {text!r}; expected {wanted}") from None
