"""What a publisher says of a product: licence, providers, citation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsscale.errors import RecipeError, nearest

_Text = Annotated[str, Field(min_length=1, max_length=20_000)]
_Address = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)]
_Doi = Annotated[str, Field(pattern=r"^10\.[0-9a-zA-Z]{4,}/[^\s]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Provider(_Part):
    """Who made, processed or hosts the product."""

    name: _Text
    url: _Address | None = None
    roles: list[Literal["producer", "licensor", "processor", "host"]] = ["producer"]


class About(_Part):
    """What only the publisher knows; all of it may be left out.

    Attributes
    ----------
    id : str
        Of the STAC collection; made of the run's name when omitted.
    title, description : str
    licence : str
        SPDX identifier (``CC-BY-4.0``), or ``other``.
    licence_url : str
        Text of a licence that is ``other``.
    providers : list of Provider
    version : str
        Of the product; a hash of what is stored when omitted.
    citation, doi : str
        How it is to be cited; ``10.…/…``.
    attribution : str
        What must be said of the sources; told from the catalogues' collections when omitted.
    keywords : list of str
    contact : str
        For the data card.
    limits : list of str
        What the product should not be used for, for the data card.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    title: _Text | None = None
    description: _Text | None = None
    licence: Annotated[str, Field(pattern=r"^[\w\-.+]+$")] = "other"
    licence_url: _Address | None = None
    providers: list[Provider] = Field(default_factory=list)
    version: _Text | None = None
    citation: _Text | None = None
    doi: _Doi | None = None
    attribution: _Text | None = None
    keywords: list[_Text] = Field(default_factory=list)
    contact: _Text | None = None
    limits: list[_Text] = Field(default_factory=list)

    @property
    def doi_links(self) -> list[dict[str, Any]]:
        """The link of a STAC collection to what is to be cited; none without a DOI."""
        return [{"rel": "cite-as", "href": f"https://doi.org/{self.doi}"}] if self.doi else []

    @property
    def licence_link(self) -> dict[str, Any]:
        """The link of a STAC collection to its licence, or to the data card that tells of it."""
        if self.licence_url:
            return {"rel": "license", "href": self.licence_url, "title": self.licence}
        card = {"href": "./README.md", "type": "text/markdown", "title": "data card"}
        return {"rel": "license", **card}


def read_about(given: str | Path | Mapping[str, Any] | About | None) -> About:
    """Read what is said of a product, of a YAML or JSON file, or a mapping.

    Raises
    ------
    RecipeError
        When the file can't be read, or a key is unknown or wrong.
    """
    if isinstance(given, About):
        return given
    name = "about"
    content: Any = given or {}
    if isinstance(given, str | Path):
        name = str(given)
        try:
            content = yaml.safe_load(Path(given).read_text("utf-8")) or {}
        except OSError as error:
            raise RecipeError(f"{name} can't be read: {error.strerror or error}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RecipeError(f"{name} is not YAML: {reason}") from None
    if not isinstance(content, Mapping):
        raise RecipeError(f"{name} is no mapping; expected keys such as title and licence")
    try:
        return About.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        known = list(About.model_fields)
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            raise RecipeError(
                f"{name} has the unknown key {key!r}; there are {', '.join(known)}"
                f"{nearest(key, known)}"
            ) from None
        raise RecipeError(f"{name}: {key}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
