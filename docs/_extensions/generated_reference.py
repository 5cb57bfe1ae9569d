"""A directive whose text is made of the package: public names with their docstrings.

Nothing of it is written by hand, so it can't be out of date. What has no description fails the
build, since warnings are errors.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from reference_tables import names_by_part
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import rsscale
from rsscale.errors import RsscaleError

PAGES_TO_COME = ("clusters", "schedules", "objects", "polygons", "object-scores", "notebooks")


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


class PublicNames(Generated):
    """The public names of a part, with their docstrings."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        yield "```{eval-rst}"
        for name in names_by_part()[self.arguments[0]]:
            yield from autodoc_lines(name)
        yield "```"


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


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("public-names", PublicNames)
    app.connect("source-read", as_pages_of_the_site)
    return {"parallel_read_safe": True}
