"""The record of how a sample was drawn, which lies beside the sample's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsscale.documents import kind_of, read_json
from rsscale.errors import RecipeError
from rsscale.survey_estimators.units import SampleDesign, Stratum

ENDING = ".design.json"
FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Stratum(_Part):
    value: int
    name: str
    pixels: Annotated[int, Field(gt=0)]
    hectares: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Clusters(_Part):
    total: Annotated[int, Field(gt=0)] | None = None
    with_replacement: bool = False


class _Record(_Part):
    format: int
    design: Literal["simple", "stratified", "systematic", "two-stage"]
    step: str = "map"
    layer: str = "classification"
    version: str
    versions: dict[str, str] = Field(default_factory=dict)
    strata: Annotated[list[_Stratum], Field(min_length=1)]
    clusters: _Clusters | None = None
    span: str = ""
    periods: list[int | str] = Field(default_factory=list)
    unmapped_hectares: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    left_out_hectares: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


@dataclass(frozen=True)
class DesignRecord:
    """How a sample was drawn from a run.

    Attributes
    ----------
    design : SampleDesign
    step, layer : str
        Whose classes it was drawn from.
    version : str
        Of what the step had stored then.
    versions : mapping of str to str
        Of each of its spans; empty where the record does not say.
    span : str
        Period, or two of them, of the classes that it was drawn from.
    periods : tuple of str
        That are to be interpreted; none where it does not say.
    unmapped, left_out : float
        Hectares of the area that had no class, and that were in no stratum: neither was sampled.
    """

    design: SampleDesign
    step: str
    layer: str
    version: str
    versions: Mapping[str, str]
    span: str
    periods: tuple[str, ...]
    unmapped: float = 0.0
    left_out: float = 0.0

    @classmethod
    def beside(cls, sample: Path) -> DesignRecord | None:
        """Read the record of a sample's file; None where there is none.

        Raises
        ------
        RecipeError
            When it is damaged, or of another format.
        """
        path = sample.with_name(sample.name + ENDING)
        if not path.is_file():
            return None
        try:
            content = read_json(path.read_bytes())
        except ValueError as error:
            raise RecipeError(f"the design record {path} is no JSON: {error}") from None
        if not isinstance(content, dict):
            raise RecipeError(f"the design record {path} is {kind_of(content)}; expected an object")
        if content.get("format") != FORMAT:
            raise RecipeError(
                f"the design record {path} has the format {content.get('format')}, and this "
                f"rsscale reads {FORMAT}"
            )
        return cls._of(content, path)

    @classmethod
    def _of(cls, content: Mapping[str, Any], path: Path) -> DesignRecord:
        try:
            record = _Record.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise RecipeError(
                f"the design record {path} is damaged: {where}: {first['msg']}; use the one that "
                "was written with the sample"
            ) from None
        strata = tuple(Stratum(s.value, s.name, s.pixels, s.hectares) for s in record.strata)
        blocks = record.clusters
        total = None if blocks is None or blocks.with_replacement else blocks.total
        return cls(
            SampleDesign(record.design, strata, total),
            record.step,
            record.layer,
            record.version,
            record.versions,
            record.span,
            tuple(map(str, record.periods)),
            record.unmapped_hectares,
            record.left_out_hectares,
        )
