"""Read YAML as data: bounded, without code, and each mistake with its line.

A recipe is written by a person. What no person writes is refused before anything is made of it:
texts of megabytes, groups in groups in groups, aliases of aliases that stand for millions of
values, numbers of thousands of digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from rsscale.errors import RecipeError

MAX_BYTES = 256 * 2**10
MAX_DEPTH = 24
MAX_VALUES = 20_000
_INT64 = 2**63
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge")


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML document.

    Parameters
    ----------
    text : str
    name : str
        What to call it in a message.

    Raises
    ------
    RecipeError
        One line: the place, what was found and what was expected.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{name} has {len(text)} characters; expected at most {MAX_BYTES}")
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 -- a safe loader
    except yaml.MarkedYAMLError as error:
        raise RecipeError(f"{name} is not valid YAML: {_in_words(error)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecipeError(f"{name} is not valid YAML: {reason}") from None
    check_value(value, name)
    return value


def check_value(value: Any, name: str) -> None:
    """Refuse a value that is nested too deep, too large, or holds what no file can hold.

    Raises
    ------
    RecipeError
        With the place of the first such value.
    """
    pending: list[tuple[Any, str, int]] = [(value, "", 0)]
    seen = 0
    while pending:
        inner, place, depth = pending.pop()
        seen += 1
        where = f"{name}: {place}" if place else name
        if depth > MAX_DEPTH:
            raise RecipeError(f"{where[:200]}: groups in more than {MAX_DEPTH} groups")
        if seen > MAX_VALUES:
            raise RecipeError(f"{name} has more than {MAX_VALUES} values")
        if isinstance(inner, Mapping):
            for key, below in inner.items():
                _check_scalar(key, where)
                pending.append((below, f"{place}.{key}" if place else str(key), depth + 1))
        elif isinstance(inner, (list, tuple)):
            pending += [(below, f"{place}.{n}", depth + 1) for n, below in enumerate(inner)]
        else:
            _check_scalar(inner, where)


def _check_scalar(value: Any, where: str) -> None:
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise RecipeError(f"{where}: a whole number beyond 64 bits; expected a smaller one")
    if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
        raise RecipeError(f"{where}: a text with a NUL or half a character; take it out")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """A mistake of a YAML text, with its line."""
    mark = error.problem_mark or error.context_mark
    line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    words = [word for word in (error.context, error.problem) if word]
    return f"{line}{' '.join(', '.join(words).split())[:300]}"


class _Loader(yaml.SafeLoader):
    """YAML without code, in which a key that stands twice is a mistake and not a replacement."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node; those inside it come first."""
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"groups in more than {MAX_DEPTH} groups", mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_document(self, node: Any) -> Any:
        """The value of the whole text."""
        _measure(node, {}, set())
        return super().construct_document(node)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """One value. PyYAML's own constructors raise whatever a broken date or number leads to."""
        tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if tag not in _TAGS:
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag !{tag.lstrip('!')}; expected plain data", node.start_mark
            )
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # noqa: BLE001 -- ValueError, OverflowError, AttributeError, …
            text = str(getattr(node, "value", ""))[:40]
            raise yaml.constructor.ConstructorError(
                None, None, f"{text!r} can't be read as {tag} ({error})"[:200], node.start_mark
            ) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A group of keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":  # the keys of another group
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is a group or a list", key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} stands twice in one group", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _measure(node: Any, known: dict[int, tuple[int, int]], inside: set[int]) -> tuple[int, int]:
    """Values below a node and how deep they lie, aliases counted as what they stand for."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in inside or len(inside) > 2 * MAX_DEPTH:
        raise yaml.composer.ComposerError(
            None, None, "an alias of a group that it is in", node.start_mark
        )
    inside.add(id(node))
    below = [] if isinstance(node, yaml.ScalarNode) else list(node.value)
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in below for part in pair]
    sizes = [_measure(part, known, inside) for part in below]
    inside.discard(id(node))
    size, depth = 1 + sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    if size > MAX_VALUES or depth > MAX_DEPTH + 1:
        raise yaml.composer.ComposerError(
            None, None, f"more than {MAX_VALUES} values, aliases counted as copies", node.start_mark
        )
    known[id(node)] = size, depth
    return size, depth
