"""Check ``run.json`` where it is read: what everything that reads a run folder relies on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rsscale.documents import kind_of
from rsscale.errors import RunFolderError, nearest
from rsscale.geo.grid import Grid


def _inside(name: str) -> str:
    """A name below the run folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError("expected a name below the run folder")
    return name


_Name = Annotated[str, AfterValidator(_inside)]
_Count = Annotated[int, Field(ge=0, le=2**53)]
_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    """Part of the state; keys that are not known here may be anything."""

    model_config = ConfigDict(extra="allow")


class _Tiles(_Part):
    total: _Count
    done: _Count
    failed: _Count = 0


class _Step(_Part):
    kind: str
    version: str
    tiles: _Tiles
    facts: dict[str, float] = Field(default_factory=dict)
    stages: dict[str, _Seconds] = Field(default_factory=dict)
    lines: list[str] = Field(default_factory=list)
    store: str | None = None
    gathered: str | None = None
    spans: list[str] = Field(default_factory=list)
    times: list[str] = Field(default_factory=list)
    layers: list[dict[str, Any]] | None = None


class _Generation(_Part):
    periods: list[str]
    area: _Name


class _Profile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    device: str
    threads: int = Field(ge=1, le=4096)
    batch: int = Field(default=1, ge=1, le=65536)
    precision: str = "float32"
    compile: bool = False


class _Failure(_Part):
    key: str
    error: str


class _Rate(_Part):
    tiles_per_s: _Seconds | None = None
    seconds_left: _Seconds | None = None


class _State(_Part):
    state: str
    tiles: _Tiles
    steps: dict[str, _Step]
    order: list[str] | None = None
    recipe: _Name
    area: _Name
    attachments: dict[str, dict[str, tuple[_Name, _Name]]]
    generations: list[_Generation] = Field(min_length=1)
    items: dict[str, _Count]
    profile: _Profile
    plan: str
    failed: list[_Failure] = Field(default_factory=list)
    waiting: _Count = 0
    in_flight: _Count = 0
    seconds: _Seconds = 0.0
    peak_rss_bytes: _Count = 0
    stages: dict[str, _Seconds] = Field(default_factory=dict)
    rate: _Rate = _Rate()

    @model_validator(mode="after")
    def _order_has_the_steps(self) -> Self:
        unknown = set(self.order or ()) - set(self.steps)
        if unknown:
            raise ValueError(f"'order' names {min(unknown)!r}, which is no step")
        return self


def wrong_in(state: Any) -> str:
    """What is wrong in the content of a ``run.json``, in words; empty if nothing."""
    try:
        _State.model_validate(state)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}, found " + kind_of(
            first["input"]
        )
    return ""


def check_layers(state: Mapping[str, Any], step: str, url: str) -> None:
    """Refuse a step that has no layers of its own, such as one of rows or of overviews.

    Raises
    ------
    RunFolderError
        Which names those that have.
    """
    steps = state["steps"]
    own = [name for name in state.get("order", steps) if steps[name].get("store") == name]
    if step not in own:
        raise RunFolderError(
            f"step {step!r} of {url} has no layers; there are {', '.join(own) or 'none'}"
            f"{nearest(step, own)}"
        )


def run_grid(state: Mapping[str, Any]) -> Grid:
    """The grid of a run, from its ``run.json``, without its recipe."""
    grid = state["grid"]
    west, north = grid["origin"]
    return Grid(grid["crs"], grid["resolution"], grid["tile"], (west, north))
