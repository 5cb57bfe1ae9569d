"""Inputs of a recipe: imagery with its mask, and the composites or series that are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rsscale.composites.reducer_names import check_reducer
from rsscale.composites.time_windows import time_windows
from rsscale.cube.mask_rules import mask_rules
from rsscale.errors import nearest
from rsscale.net.headers import HeaderRules
from rsscale.net.signing import access_name, check_name
from rsscale.recipe.fields import MonthDay, Name, Nodata, Strict, as_value_error
from rsscale.redaction import shown


class MaskRecipe(Strict):
    """Which pixels are valid: a preset by name, codes or bits of a band, or several such rules."""

    rules: tuple[str | dict[str, Any], ...] | None = None
    preset: str | None = None
    band: str | None = None
    keep: tuple[int, ...] | None = None
    drop: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None
    fields: dict[str, tuple[int, ...]] | None = None
    unseen: tuple[int, ...] | None = None
    dilate: float = Field(default=0.0, ge=0, le=100_000)  # metres

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.rules is None and self.preset is None and self.band is None:
            raise ValueError("needs 'preset', or 'band' with 'keep', 'drop', 'bits' or 'fields'")
        if self.rules is not None and self.model_fields_set - {"rules", "dilate"}:
            raise ValueError("has 'rules' and a rule beside them; put it among them")
        with as_value_error():
            mask_rules(self.rule)
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that it reads."""
        return tuple(rule.band for rule in mask_rules(self.rule))

    @property
    def rule(self) -> str | dict[str, Any] | list[str | dict[str, Any]]:
        """The argument ``by`` of :func:`rsscale.mask`."""
        if self.rules is not None:
            return list(self.rules)
        if self.preset is not None:
            return self.preset
        return self.model_dump(exclude={"preset", "dilate"}, exclude_none=True)


class CompositeRecipe(Strict):
    """Time windows of a period, and how the observations of each are reduced."""

    by: str | dict[str, Any] | None = None
    windows: dict[str, tuple[MonthDay, MonthDay]] | None = None
    reducer: str = "median"
    missing: Literal["leave", "neighbour", "linear", "year"] = "leave"

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.by is None) == (self.windows is None):
            raise ValueError("needs either 'by' (year, season, month, days) or 'windows'")
        with as_value_error():
            time_windows(self.rule, 2000)
            check_reducer(self.reducer)
        return self

    @property
    def rule(self) -> str | dict[str, Any]:
        """The argument ``by`` of :func:`rsscale.composite`."""
        return self.by if self.by is not None else {"windows": self.windows}


ACCESS = ("catalog", "sign", "headers", "loader", "on_error")
"""Keys of an input that say how it is reached: they may change while a run is not finished."""

FINDING = ("collection", "query", "names", "exclude", "missing_asset", "alternate")
"""Keys of an input that say which items and files it has: those themselves are frozen."""


class InputRecipe(Strict):
    """One source of imagery, or of a layer that does not change."""

    catalog: str
    collection: str | tuple[Name, ...] | None = None
    bands: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    names: dict[str, str | tuple[str, ...] | dict[str, str]] = Field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    missing_asset: Literal["fail", "skip"] = "fail"
    alternate: tuple[Name, ...] = ()
    query: dict[str, dict[str, Any]] | None = None
    mask: MaskRecipe | None = None
    composite: CompositeRecipe = CompositeRecipe(by="season")
    # The observations themselves, of a year or of a span of days, in place of composites.
    series: Literal[True] | tuple[MonthDay, MonthDay] | None = None
    sign: str | None = None
    headers: dict[str, dict[str, str]] | None = None
    static: bool = False
    harmonize: bool = True
    merge_days: bool = False
    decibel: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    loader: Literal["stackstac", "odc-stac", "dask"] = "dask"
    resampling: dict[str, Literal["nearest", "bilinear", "cubic"]] = Field(default_factory=dict)
    nodata: dict[str, Nodata | Literal["none"]] | None = None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What a notebook shows: the catalogue's address without user name and query."""
        for name, value in super().__repr_args__():
            yield name, shown(value) if name == "catalog" else value

    def processing(self) -> dict[str, Any]:
        """Keys that decide a pixel's value, given the items: not those that find or reach them."""
        plain = self.model_dump(mode="json", exclude_none=True, exclude={*ACCESS, *FINDING})
        # It was part of the fingerprint once: tiles that were made then are still what they were.
        return plain | {"on_error": "fail"}

    @property
    def requests(self) -> list[str | dict[str, Any]]:
        """The bands and those of the mask, with their names, as :func:`rsscale.load` takes them."""
        every = [*self.bands, *(self.mask.bands if self.mask else ())]
        return [{band: self.names[band]} if band in self.names else band for band in every]

    @property
    def access(self) -> str | None:
        """How access is gained, as :func:`rsscale.net.signing.signer` takes it."""
        return access_name(self.sign, self.headers)

    @field_validator("headers", mode="before")
    @classmethod
    def _named_not_held(cls, value: Any) -> Any:
        """Before anything else looks at it: pydantic's messages quote what they find."""
        if value is not None:
            with as_value_error():
                HeaderRules.of(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """Bands as ``{name: names}``, a mask as a list, one alternate as a text."""
        if not isinstance(value, dict):
            return value
        value = dict(value)
        if isinstance(value.get("bands"), list):
            value |= _split_bands(value["bands"], value.get("names"))
        if isinstance(value.get("mask"), list):
            value["mask"] = {"rules": value["mask"]}
        if isinstance(value.get("alternate"), str):
            value["alternate"] = [value["alternate"]]
        return value

    @model_validator(mode="after")
    def _names_are_of_bands(self) -> Self:
        known = [*self.bands, *(self.mask.bands if self.mask else ())]
        for band, where in self.names.items():
            if band not in known:
                raise ValueError(f"names {band!r}, which is none of {known}{nearest(band, known)}")
            if not where:
                raise ValueError(f"'names' has nothing for {band!r}; give what it is called")
        return self

    @field_validator("sign")
    @classmethod
    def _known_signer(cls, value: str | None) -> str | None:
        with as_value_error():
            return None if value is None else check_name(value)

    @model_validator(mode="after")
    def _static_has_no_time(self) -> Self:
        if self.static and (self.merge_days or self.composite.missing != "leave"):
            raise ValueError("'static' has no days to merge and no windows to fill")
        return self

    @model_validator(mode="after")
    def _series_has_no_windows(self) -> Self:
        if self.series is not None:
            if "composite" in self.model_fields_set or self.static:
                raise ValueError("'series' has no 'composite' and is not 'static': choose one")
            with as_value_error():
                time_windows(self.series_rule, 2000)
        return self

    @property
    def series_rule(self) -> dict[str, Any]:
        """The one window of a series, as :func:`time_windows` takes it."""
        span = ("01-01", "12-31") if self.series in (True, None) else self.series
        return {"windows": {"series": span}}

    @model_validator(mode="after")
    def _mask_is_nearest(self) -> Self:
        for band in self.mask.bands if self.mask else ():
            method = self.resampling.get(band, "nearest")
            if method != "nearest":
                raise ValueError(
                    f"resampling of {band!r} is {method!r}, and the mask reads its codes or bits; "
                    "leave it out: a mask's band is read by nearest"
                )
        return self

    @field_validator("mask", mode="before")
    @classmethod
    def _preset_by_name(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value


def _split_bands(bands: list[Any], names: Any) -> dict[str, Any]:
    """A list of bands, some as ``{name: names}``, as the keys ``bands`` and ``names``."""
    found = dict(names) if isinstance(names, dict) else {}
    plain: list[Any] = []
    for band in bands:
        plain += list(band) if isinstance(band, dict) else [band]
        found |= band if isinstance(band, dict) else {}
    return {"bands": plain, **({"names": found} if found else {})}
