"""Directives whose text is made of the package: keys of recipes, steps, commands, public names.

Nothing of it is written by hand, so it can't be out of date. What has no description fails the
build, since warnings are errors.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import rsscale
from rsscale.cli.application import app as command_line
from rsscale.cli.examples import EXAMPLES
from rsscale.errors import RsscaleError
from rsscale.recipe_schema.keys import KeyGroup, recipe_groups, step_groups
from rsscale.recipe_schema.kinds import plain_text
from rsscale.steps.kinds import KINDS

# Pages of public names, and the rooms whose names they have; of a room in none, the last one.
PARTS = {
    "imagery": ("catalog", "cube", "composites", "items", "coregistration", "geo"),
    "models": ("learn", "learners", "model", "legend", "prediction", "detection", "inference"),
    "training": ("training", "points", "comparison", "sampling"),
    "change": ("change", "spectral_change", "breaks"),
    "objects": ("objects", "polygons", "object_scores", "vectors"),
    "numbers": ("sample_design", "sample_assessment", "estimation", "accuracy"),
    "products": (
        "pictures", "viewer", "publishing", "formats", "quality", "reporting", "run_report",
    ),
    "errors": ("errors",),
    "runs": (),
}  # fmt: skip
# Verbs of `pipeline` that belong elsewhere by what they do.
PLACED = {"train": "training", "assess": "numbers", "export": "products", "simulate": "imagery"}
PAGES_TO_COME = ("clusters", "schedules", "objects", "polygons", "object-scores", "notebooks")
# What an option's value is called.
WORDS = {str: "text", int: "integer", float: "number", Path: "path"}


class Generated(SphinxDirective):
    """Base: Markdown that is made when the page is read."""

    def run(self) -> list[nodes.Node]:
        try:
            text = "\n".join(self.lines())
        except RsscaleError as error:
            raise self.error(str(error)) from None
        return self.parse_text_to_nodes(text, allow_section_headings=True)

    def lines(self) -> Iterator[str]:
        """Lines of Markdown."""
        raise NotImplementedError


class RecipeKeys(Generated):
    """Every key of a recipe."""

    def lines(self) -> Iterator[str]:
        for group in recipe_groups():
            yield from key_table(group, "" if group.title == "recipe" else "## `{}`")


class StepKinds(Generated):
    """Every kind of step with its options."""

    def lines(self) -> Iterator[str]:
        for group in step_groups():
            yield from key_table(group, "## `{}`" if group.title in KINDS else "### `{}`")


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


class Commands(Generated):
    """Every command of the command line with its arguments and options."""

    def lines(self) -> Iterator[str]:
        yield from command_lines(typer.main.get_command(command_line), "rsscale")


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


class PublicNames(Generated):
    """The public names of a part, with their docstrings; of none, a table of all."""

    optional_arguments = 1

    def lines(self) -> Iterator[str]:
        parts: dict[str, list[str]] = {part: [] for part in PARTS}
        for name in rsscale.__all__:
            parts[part_of(name)].append(name)
        if self.arguments:
            yield "```{eval-rst}"
            for name in sorted(parts[self.arguments[0]], key=functions_first):
                yield from autodoc_lines(name)
            yield "```"
            return
        yield from ("| | |", "| --- | --- |")
        for names in parts.values():
            for name in sorted(names, key=functions_first):
                about = plain_text((getattr(rsscale, name).__doc__ or "").strip().split("\n")[0])
                yield f"| {{py:obj}}`~rsscale.{name}` | {escape(about)} |"


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


def autodoc_lines(name: str) -> Iterator[str]:
    """The directive of a public name."""
    value = getattr(rsscale, name)
    if inspect.isclass(value):
        is_error = issubclass(value, Exception)
        yield f".. autoexception:: rsscale.{name}" if is_error else f".. autoclass:: rsscale.{name}"
        if not is_error:
            yield "   :members:"
    elif callable(value):
        yield f".. autofunction:: rsscale.{name}"
    else:
        yield f".. autodata:: rsscale.{name}"
    yield ""


def as_pages_of_the_site(_: Sphinx, name: str, source: list[str]) -> None:
    """What reads well on a code host, as the site has it.

    The README's part is that of the first page, and pages of parts that are being built stay out
    of the tree until they are there.
    """
    source[0] = source[0].replace("](../README.md)", "](index.md)")
    if name == "index":
        here = Path(__file__).resolve().parents[1]
        missing = {page for page in PAGES_TO_COME if not (here / f"{page}.md").exists()}
        source[0] = "\n".join(line for line in source[0].split("\n") if line not in missing)


def escape(text: str) -> str:
    """A text in a cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("recipe-keys", RecipeKeys)
    app.add_directive("step-kinds", StepKinds)
    app.add_directive("commands", Commands)
    app.add_directive("public-names", PublicNames)
    app.connect("source-read", as_pages_of_the_site)
    importlib.import_module("rsscale.cli")  # adds the commands
    return {"parallel_read_safe": True}
