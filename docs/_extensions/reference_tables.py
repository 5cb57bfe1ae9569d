"""Write what the reference pages have from the code: keys of recipes, steps, commands, names.

The tables are kept in the pages between two comments, so that they are read on a code host as on
the site; `.ci/reference` writes them anew, and a test compares them with the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

import rsscale
from rsscale.cli import main as _main  # noqa: F401 -- adds the commands
from rsscale.cli.application import app as command_line
from rsscale.cli.examples import EXAMPLES
from rsscale.errors import RsscaleError
from rsscale.recipe_schema.keys import KeyGroup, recipe_groups, step_groups
from rsscale.recipe_schema.kinds import plain_text
from rsscale.steps.kinds import KINDS

HERE = Path(__file__).resolve().parents[1] / "reference"
# Pages of public names, and the rooms whose names they have; of a room in none, the last one.
PARTS = {
    "imagery": ("catalog", "cube", "composites", "items", "coregistration", "geo"),
    "models": ("learn", "learners", "model", "legend", "prediction", "detection", "inference"),
    "training": ("training", "points", "comparison", "sampling"),
    "change": ("change", "spectral_change", "breaks"),
    "objects": (
        "objects", "object_files", "object_training", "object_scores", "object_assessment",
        "polygons",
    ),
    "numbers": ("sample_design", "sample_assessment", "estimation", "accuracy"),
    "products": (
        "pictures", "viewer", "publishing", "formats", "quality", "reporting", "run_report",
    ),
    "errors": ("errors",),
    "runs": (),
}  # fmt: skip
# Verbs of `pipeline` that belong elsewhere by what they do.
PLACED = {"train": "training", "assess": "numbers", "export": "products", "simulate": "imagery"}
# What an option's value is called.
WORDS = {str: "text", int: "integer", float: "number", Path: "path"}
BEGIN = "<!-- {}: written by .ci/reference -->"
END = "<!-- end -->"


def recipe_keys() -> Iterator[str]:
    """Every key of a recipe."""
    for group in recipe_groups():
        yield from key_table(group, "" if group.title == "recipe" else "## `{}`")


def step_kinds() -> Iterator[str]:
    """Every kind of step with its options."""
    for group in step_groups():
        yield from key_table(group, "## `{}`" if group.title in KINDS else "### `{}`")


def commands() -> Iterator[str]:
    """Every command of the command line with its arguments and options."""
    yield from command_lines(typer.main.get_command(command_line), "rsscale")


def public_names() -> Iterator[str]:
    """Every public name with the first line of its docstring, and the page of its part."""
    yield from ("| | |", "| --- | --- |")
    for part, names in names_by_part().items():
        for name in names:
            about = plain_text((getattr(rsscale, name).__doc__ or "").strip().split("\n")[0])
            yield f"| [`rs.{name}`](api/{part}.md) | {escape(about)} |"


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "recipe.md": recipe_keys,
    "steps.md": step_kinds,
    "commands.md": commands,
    "api.md": public_names,
}
"""Pages, and what stands in them."""


def renewed(page: str, lines: Callable[[], Iterator[str]]) -> str:
    """The text of a page with what the code says today between its comments."""
    text = (HERE / page).read_text()
    begin = BEGIN.format(lines.__name__.replace("_", "-"))
    before, mark, rest = text.partition(begin)
    after = rest.partition(END)[2]
    if not mark or END not in rest:
        raise RsscaleError(f"{page} has no place for it; expected the lines {begin} and {END}")
    return "\n".join([before + begin, "", *lines(), "", END + after])


def names_by_part() -> dict[str, list[str]]:
    """Public names of each part, functions before classes."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in rsscale.__all__:
        parts[part_of(name)].append(name)
    return {part: sorted(names, key=functions_first) for part, names in parts.items()}


def key_table(group: KeyGroup, heading: str) -> Iterator[str]:
    """A group of keys under its heading."""
    if heading:
        yield from ("", heading.format(group.title), "")
    if heading and not group.summary.startswith("`{kind"):
        yield from (group.summary, "")
    yield from ("| key | value | default | |", "| --- | --- | --- | --- |")
    for key in group.keys:
        default = key.default or "*required*"
        yield f"| `{key.name}` | {key.kind} | {default} | {escape(key.meaning)} |"


def command_lines(command: Any, words: str) -> Iterator[str]:
    """A command, or those of a group."""
    if getattr(command, "commands", None):
        for name, inner in command.commands.items():
            yield from command_lines(inner, f"{words} {name}")
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    named = " ".join(argument_name(one) for one in arguments)
    yield from ("", f"## `{words}`", "", help_of(command.help, words), "")
    line = " ".join(part for part in (words, named, "[OPTIONS]" if options else "") if part)
    yield from ("```text", line, "```", "")
    yield from ("```sh", *EXAMPLES.get(words.removeprefix("rsscale "), ()), "```", "")
    if arguments or options:
        yield from ("| | default | |", "| --- | --- | --- |")
    for one in arguments:
        yield f"| `{argument_name(one)}` | | {escape(help_of(one.help, words))} |"
    for one in options:
        if "--help" not in one.opts:
            about = escape(help_of(one.help, words))
            yield f"| {option_names(one)} | {default_of(one)} | {about} |"


def help_of(text: str | None, words: str) -> str:
    """The help of a command, an argument or an option."""
    if not text:
        raise RsscaleError(f"{words} has something without help; write one")
    return " ".join(text.split())


def argument_name(one: Any) -> str:
    """An argument as the help has it."""
    return str(one.metavar or one.name.upper())


def option_names(one: Any) -> str:
    """An option's names, with what its value is."""
    names = ", ".join(f"`{name}`" for name in [*one.opts, *one.secondary_opts])
    if one.is_flag:
        return names
    annotation = one.type_descriptor.annotation
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    if get_origin(annotation) is Literal:
        return f"{names} {', '.join(map(str, get_args(annotation)))}"
    value = one.metavar or WORDS.get(annotation, getattr(annotation, "__name__", "value")).upper()
    return f"{names} {value}"


def default_of(one: Any) -> str:
    """An option's default, where it says something."""
    if one.default is None or one.is_flag or callable(one.default):
        return ""
    return f"`{one.default}`"


def functions_first(name: str) -> tuple[bool, str]:
    """What names are sorted by: functions before classes."""
    return not name[0].islower(), name


def part_of(name: str) -> str:
    """Which part of the page a public name belongs to."""
    if name in PLACED:
        return PLACED[name]
    value = getattr(rsscale, name)
    room = value.__module__.split(".")[1]
    return next((part for part, rooms in PARTS.items() if room in rooms), list(PARTS)[-1])


def escape(text: str) -> str:
    """A text in a cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


if __name__ == "__main__":
    for page, lines in PAGES.items():
        (HERE / page).write_text(renewed(page, lines))
