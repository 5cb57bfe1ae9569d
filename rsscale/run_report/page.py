"""Turn what is known of a run into the text of one HTML page, with nothing private in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rsscale.run_report import figures
from rsscale.text.redaction import hide_local_paths, scrub
from rsscale.text.wording import counted

# The lightest and darkest of a table's shaded cells; see :func:`cell`.
_PALE, _DEEP = (255, 255, 255), (150, 60, 20)
# One of the two has a contrast of 4.58 or more on any colour at all.
_INKS = ("#000000", "#ffffff")


def render(content: Mapping[str, Any]) -> str:
    """The page; everything that is no markup of ours is escaped, scrubbed of tokens and paths.

    Parameters
    ----------
    content : mapping
        What ``templates/report.html`` names.
    """
    _cleaned.cache_clear()  # secrets of this process may be others than before
    return _environment().get_template("report.html").render(**content)


def cell(shade: float) -> str:
    """Colours of a shaded cell of a table, as CSS: the text is the one that is read best.

    Parameters
    ----------
    shade : float
        0 to 1.
    """
    share = min(max(shade, 0.0), 1.0)
    parts = [round(pale + (deep - pale) * share) for pale, deep in zip(_PALE, _DEEP, strict=True)]
    paper = "#{:02x}{:02x}{:02x}".format(*parts)
    ink = max(_INKS, key=lambda color: contrast(color, paper))
    return f"background:{paper};color:{ink}"


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours ``"#rrggbb"``, 1 to 21, by WCAG 2.2."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    """Relative luminance of sRGB, by WCAG 2.2."""
    linear = []
    for start in (1, 3, 5):
        share = int(color[start : start + 2], 16) / 255
        linear.append(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _clean(value: Any) -> Any:
    """What is written into the page: no token, no path of this machine."""
    if isinstance(value, str) and not hasattr(value, "__html__"):  # markup and pictures of ours
        return _cleaned(value)
    return value


@lru_cache(maxsize=65_536)
def _cleaned(text: str) -> str:
    return hide_local_paths(scrub(text))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rsscale.run_report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "hectares": figures.hectares,
        "percent": figures.percent,
        "interval": figures.interval,
        "whole": figures.whole,
        "seconds": figures.seconds,
        "size": figures.size,
    }
    environment.globals |= {
        "cell": cell,
        "counted": counted,
    }
    return environment
