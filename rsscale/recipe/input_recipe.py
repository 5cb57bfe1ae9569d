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
from rsscale.recipe.fields import MonthDay, Name, Nodata, Strict, as_value_error, short_form
from rsscale.text.redaction import shown


class MaskRecipe(Strict):
    """Which pixels are valid: a preset by name, codes or bits of a band, or several such rules."""

    rules: tuple[str | dict[str, Any], ...] | None = None
    """Several rules, each a preset's name or a mapping with `band`; a pixel is valid where all of
    them keep it."""
    preset: str | None = None
    """A rule by name: sentinel2-scl, landsat-qa-pixel, fmask, dea-fmask, hls-fmask."""
    band: str | None = None
    """The band of codes or bits that `keep`, `drop`, `bits` or `fields` are about."""
    keep: tuple[int, ...] | None = None
    """Codes that are valid; all others are dropped."""
    drop: tuple[int, ...] | None = None
    """Codes that are dropped; all others are valid."""
    bits: tuple[int, ...] | None = None
    """Bits, counted from 0, of which none may be set."""
    fields: dict[str, tuple[int, ...]] | None = None
    """Fields of several bits, such as `"8-9"`, and the values of each that are dropped."""
    unseen: tuple[int, ...] | None = None
    """Values that say that nothing was seen there; those of the band's declared nodata when left
    out."""
    dilate: float = Field(default=0.0, ge=0, le=100_000)
    """Also drop what lies within so many metres on the ground of a dropped pixel."""

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
    """Time windows of a period: year, season or month; `{season: 12}` (or year, month) from another
    month on; `{days: 16}`."""
    windows: dict[str, tuple[MonthDay, MonthDay]] | None = None
    """Named windows of the year instead, both ends included: `{spring: ["03-01", "05-31"]}`;
    `"-1-12-01"` is December of the year before."""
    reducer: str = "median"
    """How the clear observations of a window become one value: median, mean, min, max, p1 to p99,
    best-pixel, geomedian, medoid."""
    missing: Literal["leave", "neighbour", "linear", "year"] = "leave"
    """A window without a clear observation at a pixel: `leave` it (the model sees its mean), take
    the nearest `neighbour` in time, fill it by `linear` interpolation, or reduce all observations
    of the `year`."""

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


# Short forms of some keys, see :meth:`InputRecipe._short_forms`.
_TEXT = {"type": "string"}
_RULES = {"type": "array", "items": {"anyOf": [_TEXT, {"type": "object"}]}}
_NAMED_BANDS = {"type": "array", "items": {"anyOf": [_TEXT, {"type": "object"}]}, "minItems": 1}


class InputRecipe(Strict):
    """One source of imagery, or of a layer that does not change."""

    catalog: str
    """A STAC API, a static catalog.json, or a stac-geoparquet file; a path or an address."""
    collection: str | tuple[Name, ...] | None = None
    """The collection, or several: `[HLSL30_2.0, HLSS30_2.0]`."""
    bands: tuple[Name, ...] = Field(
        min_length=1, max_length=1000, json_schema_extra=short_form(_NAMED_BANDS)
    )
    """Asset keys or common names, in the order that the model sees; of a file of several bands a
    band's name, or its number as in `image.4`."""
    names: dict[str, str | tuple[str, ...] | dict[str, str]] = Field(default_factory=dict)
    """What a band is called where its own name does not say so, also by collection: `{nir:
    {HLSL30_2.0: B05, HLSS30_2.0: B8A}}`."""
    exclude: tuple[str, ...] = ()
    """Items to leave out, by id."""
    missing_asset: Literal["fail", "skip"] = "fail"
    """Items that lack a band `fail` the run, or are left out (`skip`)."""
    alternate: tuple[Name, ...] = Field(default=(), json_schema_extra=short_form(_TEXT))
    """Which address of an asset, where items offer several: `[s3, main]`."""
    query: dict[str, dict[str, Any]] | None = None
    """STAC query extension, such as `{"eo:cloud_cover": {lt: 60}}`; also applied by rsscale itself
    where the API does not know it."""
    mask: MaskRecipe | None = Field(default=None, json_schema_extra=short_form(_TEXT, _RULES))
    """Which pixels are valid: a preset by name, a rule, or a list of rules."""
    composite: CompositeRecipe = CompositeRecipe(by="season")
    """How the observations of a period become channels."""
    series: Literal[True] | tuple[MonthDay, MonthDay] | None = None
    """For models of time series, in place of `composite`: the observations themselves, of the year
    (`true`) or of days such as `["-1-09-01", "08-31"]`, which begin in the year before."""
    sign: str | None = None
    """How files are reached, if not simply so: planetary-computer, aws-anonymous,
    aws-requester-pays, or a `module:function` of yours that signs addresses."""
    headers: dict[str, dict[str, str]] | None = None
    """Headers of requests by host. Tokens go by the name of an environment variable that
    `RSSCALE_TOKENS` allows: `{data.example.org: {Authorization: "Bearer env:EXAMPLE_TOKEN"}}`."""
    static: bool = False
    """A layer that does not change, such as elevation: it has no dates."""
    harmonize: bool = True
    """Apply each item's scale and offset (Sentinel-2 processing baseline 04.00), once."""
    merge_days: bool = False
    """Scenes of one day that overlap between granules count as one observation."""
    decibel: bool = False
    """Radar: composites of linear power, then 10 log10."""
    on_error: Literal["fail", "skip"] = "fail"
    """A file that can't be read after all retries fails its tile (`fail`), or counts as not seen,
    with a line in the ledger (`skip`)."""
    loader: Literal["stackstac", "odc-stac", "dask"] = "dask"
    """Who builds the graph of the lazy cube; the pixels are those of dask."""
    resampling: dict[str, Literal["nearest", "bilinear", "cubic"]] = Field(default_factory=dict)
    """By band, where grids differ: bilinear when left out, nearest for codes."""
    nodata: dict[str, Nodata | Literal["none"]] | None = None
    """By band, the value that means nothing was observed, where the files don't say it or say
    another; `none` for no such value."""

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
        for key, of_bands in (("resampling", self.resampling), ("nodata", self.nodata or {})):
            for band in of_bands:
                if band not in known:
                    raise ValueError(
                        f"{key} has band {band!r}, which is none of {known}{nearest(band, known)}"
                    )
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
    files = dict(names) if isinstance(names, dict) else {}
    plain: list[Any] = []
    for band in bands:
        plain += list(band) if isinstance(band, dict) else [band]
        files |= band if isinstance(band, dict) else {}
    return {"bands": plain, **({"names": files} if files else {})}
