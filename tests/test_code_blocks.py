"""Every block of code on our pages: Python is compiled and its calls exist, recipes are valid,
commands have the options that they are given. Which blocks are run, and where, is told in
``test_code_runs.py``.
"""

import ast
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import typer
from code_blocks import ROOT, CodeBlock, as_json, blocks, whole_recipe, yaml_values

import rsscale
from rsscale.cli.application import app
from rsscale.recipe import read_recipe
from rsscale.recipe.input_recipe import InputRecipe
from rsscale.recipe_schema.json_schema import recipe_schema
from rsscale.steps.kinds import check_recipe_steps

BLOCKS = blocks()
CHECKED = ("python", "py", "yaml", "sh", "json")
# Languages that nothing here reads, each with what stands in such blocks.
UNREAD = {
    "text": "what a program prints, a drawing, or a formula",
    "r": "a line of terra; .ci/long opens a publication by R where it is installed",
    "{toctree}": "the tree of the site, which the build checks",
    "{public-names}": "made by the build",
}
# YAML that is no recipe, and what it is.
NO_RECIPE = {
    "docs/publishing.md": "what a publisher says of his product",
}
# Keys and bands of catalogues elsewhere, which the fragments leave out.
INPUT_KEYS = {field.alias or name for name, field in InputRecipe.model_fields.items()}


def of(*languages: str) -> list[Any]:
    return [pytest.param(b, id=b.place) for b in BLOCKS if b.language.split(" ")[0] in languages]


def test_every_block_has_a_language_that_is_checked_or_a_reason() -> None:
    unknown = {
        f"{b.page}, line {b.line}: {b.language or 'none'}"
        for b in BLOCKS
        if b.language.split(" ")[0] not in (*CHECKED, *UNREAD)
    }
    assert unknown == set()
    assert len(BLOCKS) > 80
    assert len(UNREAD) == 4
    assert len(NO_RECIPE) == 1


@pytest.mark.parametrize("block", of("python", "py"))
def test_python_compiles_and_calls_what_there_is(block: CodeBlock) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rsscale"):
            module = importlib.import_module(str(node.module))
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []
        if isinstance(node, ast.Attribute) and _is_rs(node.value):
            assert hasattr(rsscale, node.attr), node.attr
        if isinstance(node, ast.Call):
            _check_call(node)


def _is_rs(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "rs"


def _check_call(node: ast.Call) -> None:
    """The call has arguments that the function has."""
    if not (isinstance(node.func, ast.Attribute) and _is_rs(node.func.value)):
        return
    words = {key.arg: None for key in node.keywords if key.arg is not None}
    places = [None for one in node.args if not isinstance(one, ast.Starred)]
    function = getattr(rsscale, node.func.attr)
    inspect.signature(function).bind_partial(*places, **words)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(recipe_schema())


@pytest.mark.parametrize("block", of("yaml"))
def test_recipes_and_their_fragments_are_valid(
    block: CodeBlock, validator: jsonschema.Draft202012Validator
) -> None:
    values = yaml_values(block.text)
    assert values
    if block.page in NO_RECIPE:
        return
    for value in values:
        whole = with_steps_of_page(whole_recipe(value, INPUT_KEYS), block.page)
        validator.validate(as_json(whole))
        recipe = read_recipe(whole)
        check_recipe_steps(recipe)


def with_steps_of_page(recipe: dict[str, Any], page: str) -> dict[str, Any]:
    """A recipe with the steps that it reads and that another block of the page has."""
    values = [
        v for b in BLOCKS if (b.page, b.language) == (page, "yaml") for v in yaml_values(b.text)
    ]
    known = {
        n: step for v in values if isinstance(v, dict) for n, step in (v.get("steps") or {}).items()
    }
    steps = recipe.get("steps") or {}
    read = [step.get("of") for step in steps.values() if isinstance(step.get("of"), str)]
    added = {name: known[name] for name in read if name in known and name not in steps}
    return recipe | {"steps": added | steps} if added else recipe


@pytest.mark.parametrize("block", of("json"))
def test_json_can_be_read(block: CodeBlock) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("sh"))
def test_commands_have_the_options_that_they_are_given(block: CodeBlock) -> None:
    root = typer.main.get_command(app)
    for words in commands(block.text):
        program = words[0].removeprefix(".venv/bin/")
        if program == "rsscale":
            _parse(root, words[1:])
        elif program == "bash" and words[1].startswith(".ci/"):
            assert (ROOT / words[1]).is_file(), words
        elif program == "python" and words[1] == "-m":
            _check_module(words[2])


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block."""
    for line in text.replace("\\\n", " ").splitlines():
        plain = re.sub(r"(^|\s)#.*|(^|\s)[12]?>+ ?\S+", "", line)  # comments, redirections
        for part in re.split(r"&&|\|\||;|\s\|\s", plain):
            words = shlex.split(part)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]
            if words:
                yield [word for word in words if word != "&"]


def _parse(root: Any, words: list[str]) -> None:
    words = [word for word in words if word not in ("--debug", "--quiet")]
    if "--log-format" in words:  # may stand anywhere, like those
        at = words.index("--log-format")
        assert words[at + 1] in ("text", "json")
        words = words[:at] + words[at + 2 :]
    if words in (["--help"], ["--version"]):
        return
    command, names = root, ["rsscale"]
    context = root.make_context("rsscale", [], resilient_parsing=True)
    while getattr(command, "commands", None):
        assert words, f"{' '.join(names)} needs a command"
        assert words[0] in command.commands, f"{' '.join(names)} has no {words[0]!r}"
        command = command.commands[words[0]]
        names.append(words.pop(0))
    if "--help" not in words:
        command.make_context(" ".join(names), words, parent=context)


def _check_module(name: str) -> None:
    path = ROOT / name.replace(".", "/")
    is_ours = name.split(".", maxsplit=1)[0] in ("benchmarks", "rsscale")
    assert not is_ours or path.is_dir() or path.with_suffix(".py").is_file(), name


def test_mistakes_in_commands_are_found() -> None:
    """The check itself can fail."""
    root = typer.main.get_command(app)
    for line in ("rsscale run recipe.yaml --owt x", "rsscale rnu recipe.yaml", "rsscale model"):
        (words,) = commands(line)
        with pytest.raises((AssertionError, typer.BadParameter.__mro__[1])):
            _parse(root, words[1:])
