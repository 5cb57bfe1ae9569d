"""The report of a run: well made as a page, true to its sources, and with nothing private in it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from formula_pass import CLASSES, allowed, formula_recipe
from measured_run import areas, figure, gates, leave
from PIL import Image

import rsscale as rs
from rsscale.cli import main
from rsscale.errors import RecipeError, RunFolderError, StorageError
from rsscale.geo.pixel_area import pixel_areas
from rsscale.layers import NODATA
from rsscale.reporting import pixels
from rsscale.reporting.pixels import open_level
from rsscale.sample_assessment.assess_sample import assess_sample
from rsscale.store.ledger import Ledger
from rsscale.store.run_state import run_grid
from rsscale.store.step_version import step_version
from rsscale.store.zarr_store import consolidate
from rsscale.text.wording import hectares, percent

VOID = {"meta", "link", "img", "br", "hr", "input", "rect", "path"}


@dataclass
class Page(HTMLParser):
    """What stands where in a page; refuses tags that are not closed in order."""

    text: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, path: Path) -> Page:
        page = cls()
        page.feed(path.read_text("utf-8"))
        page.close()
        assert page._open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a formula in two periods, with overviews and transitions."""
    folder = tmp_path_factory.mktemp("made")
    transitions = {"kind": "transitions", "of": "map", "from": 2020, "to": 2022}
    with allowed():
        recipe = formula_recipe(
            folder,
            periods=[2020, 2022],
            options={"layers": ["classification"]},
            steps={
                "transitions": transitions,
                "overviews": {"kind": "overviews", "of": "map", "levels": 2},
            },
        )
        rs.run(recipe, folder / "run", threads=1, device="cpu")
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "run"))


NAMES = ("water", "<b>forest</b> & co", "\u8349\u5730", "b\u00e2ti")


@pytest.fixture(scope="module")
def measured(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that has been assessed and checked."""
    run = Path(shutil.copytree(made, tmp_path_factory.mktemp("measured") / "run"))
    classes = [(c.value, name, c.color) for c, name in zip(CLASSES, NAMES, strict=True)]
    version = step_version(rs.Run(run).folder, "map")
    leave(run, "areas.json", areas(classes, ("2020", "2022"), version))
    leave(run, "gates.json", gates())
    return rs.report(run)


def test_the_page_is_sound_for_readers_of_all_kinds(measured: Path) -> None:
    page = Page.of(measured)
    assert next(page.all("html"))["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all((image["alt"] or "").strip() for image in page.all("img"))
    assert all(head["scope"] in ("row", "col") for head in page.all("th"))
    assert len(list(page.all("caption"))) == len(list(page.all("table")))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}
    assert "@media print" in measured.read_text("utf-8")


def test_the_page_needs_nothing_else(measured: Path) -> None:
    page = Page.of(measured)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [image["src"] for image in page.all("img")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in measured.read_text("utf-8")
    assert measured.stat().st_size < 5_000_000


def test_names_are_text_whatever_is_in_them(measured: Path) -> None:
    page = Page.of(measured)
    assert "b" not in {tag for tag, _ in page.tags}
    for name in NAMES:
        assert name in page.words
    assert "North <1>" in page.words


def test_what_was_estimated_stands_beside_what_was_mapped(measured: Path) -> None:
    words = Page.of(measured).words
    assert "a stratified sample of 288 units (stratified estimator (Olofsson et al. 2014))" in words
    assert "Left out of the sample: 12 not yet interpreted" in words
    assert "water 1,234 1,136 to 1,332 50.0 1,000" in words
    assert "not estimable: no sample units" in words
    assert "overall accuracy 91.0 % Interval: 89.0 % to 93.0 %" in words
    assert "345 ha (208 to 482) became another class." in words
    assert "2020 to 2022: mapped, not estimated" in words
    assert "transitions was made from map/2020, map/2022" in words
    assert "Mapped, not estimated." not in words


def test_failed_gates_come_first_with_their_worst_places(measured: Path) -> None:
    page = Page.of(measured)
    words = page.words
    assert "✗ not all gates passed" in words
    assert words.index("Seams ✗ failed") < words.index("Missing tiles ✓ passed")
    assert words.index("Missing tiles ✓ passed") < words.index("Class shares not checked")
    pictures = [image for image in page.all("img") if "worst place" in (image["alt"] or "")]
    assert len(pictures) == 1  # the other one lies outside of the run
    assert "2020 x1_y2: 0.31" in words


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_without_a_sample_hectares_are_the_maps(run: Path) -> None:
    page = Page.of(rs.report(run))
    assert "Mapped, not estimated." in page.words
    assert "The product was not checked" in page.words
    state = rs.Run(run).state
    product = open_level(rs.Run(run), state, "map", most=np.inf)
    areas_of = pixel_areas(run_grid(state), product.box) / 10_000
    values = product.ds["classification"].values
    areas_of = np.broadcast_to(areas_of, values.shape[1:])
    for year in values:
        for one in CLASSES:
            hectares = areas_of[year == one.value].sum()
            assert f"{one.name} {hectares:,.0f}" in page.words
    matrix = rs.transition_matrix(run)
    assert f"{matrix.changed:,.0f} ha of {matrix.hectares.sum():,.0f} ha" in page.words


def test_maps_are_painted_in_the_colours_of_the_classes(run: Path) -> None:
    page = Page.of(rs.report(run))
    first = decoded(next(page.all("img"))["src"] or "")
    state = rs.Run(run).state
    whole = open_level(rs.Run(run), state, "map", most=1800**2).ds["classification"][0].values
    rows, cols = (np.flatnonzero((whole != NODATA).any(axis=axis)) for axis in (1, 0))
    part = whole[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    picture = np.asarray(first.convert("RGBA"))
    at = [((2 * np.arange(n) + 1) * size) // (2 * n) for n, size in zip(picture.shape, part.shape,
                                                                       strict=False)]  # fmt: skip
    shown = part[np.ix_(*at)]
    assert (picture[..., 3] == 0).tolist() == (shown == NODATA).tolist()
    for one in CLASSES:
        color = [int(one.color[k : k + 2], 16) for k in (1, 3, 5)]
        assert (picture[shown == one.value][:, :3] == color).all()
        assert (shown == one.value).any()


def test_values_that_are_no_class_are_named_and_colours_are_judged(run: Path) -> None:
    store = zarr.open_group(run / "product.zarr", mode="r+")
    attributes = dict(store["classification"].attrs)
    attributes |= {"flag_values": [1, 2, 4], "flag_meanings": "water forest crops",
                   "class_names": '["water", "forest", "crops"]',
                   "flag_colors": "#2b83ba #6fa052 #d9954a"}  # fmt: skip
    store["classification"].attrs.update(attributes)
    consolidate(rs.Run(run).folder.store("map"))
    words = Page.of(rs.report(run)).words
    assert "value 9, which is no class" in words
    assert "another colour vision: forest and crops (protanopia)." in words


def test_a_page_stays_small_whatever_it_is_about(run: Path) -> None:
    classes = [(k, f"class {k}", "#336699") for k in range(200)]
    content = areas(classes, ("2020", "2022"))
    region = {"classes": content["periods"]["2020"]["classes"][:20]}
    content["regions"] = {f"region {k}": region for k in range(300)}
    leave(run, "areas.json", content)
    path = rs.report(run)
    assert path.stat().st_size < 5_000_000
    words = Page.of(path).words
    assert "The first 12 of 300 regions are listed here" in words
    assert "region 11" in words
    assert "region 12 " not in words


@pytest.mark.extended
def test_large_products_are_read_through_their_overviews(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = rs.Run(run).state
    whole = open_level(rs.Run(run), state, "map", most=np.inf)
    opened = [pixels._opened(rs.Run(run), state, "map", level) for level in range(3)]
    sizes = [product.box.shape[0] * product.box.shape[1] for product in opened]
    levels = [open_level(rs.Run(run), state, "map", most=size).level for size in (*sizes, 10)]
    assert levels == [0, 1, 2, 2]
    coarse = open_level(rs.Run(run), state, "map", most=10)
    assert coarse.grid.resolution == 4 * whole.grid.resolution
    monkeypatch.setattr(pixels, "_BLOCK", 100)
    for product in (whole, coarse):
        blocks = list(product.blocks())
        seen = np.zeros(product.box.shape, int)
        for block in blocks:
            seen[block] += 1
        assert (seen == 1).all()
        assert len(list(product.blocks(most=seen.size // 4))) == pytest.approx(
            len(blocks) / 4, abs=1
        )
        counts, hectares = pixels.count_classes(product, product.ds["classification"][0])
        # Blocks change nothing; overviews by mode little.
        assert counts.sum() == seen.size
        assert hectares[1] == pytest.approx(
            (whole.ds["classification"][0].values == 1).sum() / 100, rel=0.05
        )


def test_what_is_unfinished_damaged_or_of_another_version_is_said(run: Path) -> None:
    state = json.loads((run / "run.json").read_text())
    state["state"], state["tiles"]["done"] = "interrupted", state["tiles"]["total"] - 1
    (run / "run.json").write_text(json.dumps(state))
    (run / "accuracy.json").write_text("[1, 2")
    leave(run, "areas.json", areas([(1, "water", "#2b83ba")], version="0123456789abcdef"))
    leave(run, "gates.json", gates() | {"format": 7})
    words = Page.of(rs.report(run)).words
    assert "This run is not finished" in words
    assert "tiles are done" in words
    assert "accuracy.json is damaged and not shown" in words
    assert "areas.json is of another version of the product" in words
    assert "gates.json has the format 7, this rsscale reads 1" in words
    assert words.index("This run is not finished") < words.index("Legend")


def test_what_assess_writes_is_what_the_report_reads(run: Path, tmp_path: Path) -> None:
    """A simple random sample whose interpreter saw another class at every tenth unit."""
    layer = rs.Run(run).open().classification[-1]
    values = layer.to_numpy()
    places = np.argwhere(values != NODATA)
    chosen = places[np.random.default_rng(3).choice(len(places), 300, replace=False)]
    names = {one.value: one.name for one in CLASSES}
    reference = [names[v] for v in values[tuple(chosen.T)].tolist()]
    reference[::10] = ["water"] * 30
    frame = gpd.GeoDataFrame(
        {"id": range(300), "reference": reference, "inclusion_probability": 300 / len(places)},
        geometry=gpd.points_from_xy(layer.x.data[chosen[:, 1]], layer.y.data[chosen[:, 0]]),
        crs="EPSG:32631",
    )
    frame.to_file(tmp_path / "sample.gpkg", layer="sample")
    with allowed():
        assess_sample(run, tmp_path / "sample.gpkg")
    content = json.loads((run / "areas.json").read_text())
    path = rs.report(run)
    words = Page.of(path).words
    assert "To know before reading" not in words
    assert "sample of 300 units" in words
    for span, period in content["periods"].items():
        overall = period["overall"]
        assert f"{span}: overall accuracy {percent(overall['value'])}" in words
        for one in period["classes"]:
            figures = [hectares(one["hectares"][key]) for key in ("value", "low", "high", "se")]
            estimate, low, high, error = figures
            mapped = hectares(one["mapped_hectares"])
            assert f"{one['name']} {estimate} {low} to {high} {error} {mapped}" in words
    assert str(tmp_path) not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("areas.json", {"format": 1, "periods": {"2020": {"classes": "water"}}}),
        pytest.param(
            "areas.json",
            {"format": 1, "periods": ["2020"], "change": 3, "sample": [1]},
            marks=pytest.mark.extended,
        ),
        pytest.param("areas.json", {"format": 1, "notes": 7}, marks=pytest.mark.extended),
        ("accuracy.json", {"references": [], "classes": {"water": 1}}),
        ("gates.json", {"format": 1, "gates": [7], "passed": "?"}),
    ],
)
def test_a_document_of_another_form_takes_no_page_away(
    run: Path, name: str, content: dict[str, Any]
) -> None:
    leave(run, name, content)
    words = Page.of(rs.report(run)).words
    assert f"{name} has another form than this rsscale writes" in words
    assert "Legend" in words


def test_two_interpreters_and_what_has_no_standard_error_are_told(run: Path) -> None:
    content = areas([(1, "water", "#2b83ba"), (2, "wood", "#1b7837")], ("2020", "2022"))
    first = content["periods"]["2020"]["classes"][0]
    first["hectares"] = {
        "value": 570.2,
        "se": None,
        "low": 529.5,
        "high": 847.2,
        "why": "all agree",
    }
    content["interpreters"] = {
        "units": 120, "agreement": figure(0.93, 0.02), "kappa": figure(0.88, 0.03),
        "classes": [
            {"name": "water", "hectares": {"first": figure(600, 9), "second": figure(550, 9)}},
        ],
    }  # fmt: skip
    content["change"]["2020-2022"]["matrix_hectares"] = [[500.0, 310.0], [0.0, 400.0]]
    leave(run, "areas.json", content)
    words = Page.of(rs.report(run)).words
    assert (
        "interpreted 120 units: they agree on 93.0 % of them (89.1 % to 96.9 %), kappa 0.88."
        in words
    )
    assert "water: 600 ha by the first, 550 ha by the second." in words
    assert "water: all agree" in words
    assert "Was water wood water 500 310 wood" in words


def test_scenes_of_every_tile_are_in_the_page_and_in_a_table(
    landscape_run: Path, tmp_path: Path
) -> None:
    path = rs.report(landscape_run, tmp_path / "new" / "page.html")
    entries = list(Ledger(rs.Run(landscape_run).folder.storage).entries("map"))
    table = pq.read_table(path.with_name("provenance.parquet")).to_pandas()
    expected = {(e.key.span, e.key.tile, scene) for e in entries for scene in e.inputs}
    assert set(zip(table["span"], table["tile"], table["scene"], strict=True)) == expected
    assert len(table) == len(expected)
    pairs = zip(table["date"], table["scene"], strict=True)
    assert all(str(date) in scene for date, scene in pairs)
    page = Page.of(path)
    for entry in entries:
        assert ", ".join(entry.inputs) in page.words
    assert "Model " in page.words
    digest = rs.Run(landscape_run).state["attachments"]["map"]["2023"][1]
    assert digest in page.words
    # Not even where the recipe names the archive by its whole path.
    assert "/catalog.json" in (landscape_run / "recipe.yaml").read_text()
    assert str(landscape_run.parent) not in path.read_text("utf-8")
    assert "…/catalog.json" in page.words


def test_of_many_tiles_those_with_the_fewest_scenes_are_listed(
    landscape_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsscale.run_report.provenance.MOST_TILES", 3)
    monkeypatch.setattr("rsscale.run_report.provenance._BATCH", 2)
    path = rs.report(landscape_run, tmp_path / "page.html")
    entries = list(Ledger(rs.Run(landscape_run).folder.storage).entries("map"))
    assert f"The 3 tiles that the fewest scenes made, of {len(entries)}" in Page.of(path).words
    listed = re.findall(r"(\d+) ids?</summary>", path.read_text("utf-8"))
    assert sorted(map(int, listed)) == sorted(len(e.inputs) for e in entries)[:3]
    total = sum(len(entry.inputs) for entry in entries)
    assert pq.read_metadata(tmp_path / "provenance.parquet").num_rows == total


def test_no_secret_and_no_folder_of_this_machine_is_told(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE_UP_TOKEN", "hunter2hunter2")
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(
        f"{recipe}\n# https://me:pass123@host.example/items?sig=abc123&collections=s2\n"
        "# hunter2hunter2 Authorization: Bearer abcdef123456\n"
        "# /srv/private/labels.gpkg\n"
    )
    text = rs.report(run).read_text("utf-8")
    assert "host.example" in text
    for secret in ("pass123", "abc123", "hunter2", "abcdef123456", "/srv/private", str(run)):
        assert secret not in text
    assert "…/labels.gpkg" in text


@pytest.mark.extended
def test_a_run_in_a_bucket_has_its_page_here(tmp_path: Path, s3_server: str) -> None:
    del s3_server
    with allowed():
        recipe = formula_recipe(tmp_path, periods=[2020], options={"layers": ["classification"]})
        run = rs.run(recipe, "s3://maps/report", threads=1, device="cpu")
    with pytest.raises(RecipeError, match="is in a bucket; say with --out"):
        rs.report(run)
    words = Page.of(rs.report(run, tmp_path / "page.html")).words
    assert "Mapped areas, 2020" in words
    assert "secret-of-the-test" not in words


def test_where_no_page_can_be_written_one_line_says_so(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        rs.report(tmp_path)
    with pytest.raises(RecipeError, match=r"is a folder; give the name of the page"):
        rs.report(made, tmp_path)
    with pytest.raises(RecipeError, match="give a local file"):
        rs.report(made, "s3://bucket/report.html")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be written"):
        rs.report(made, tmp_path / "file" / "page.html")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(made), "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "give the name of the page" in capsys.readouterr().err


def test_the_command_says_where_the_page_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", "report", str(run)])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "provenance.parquet").exists()


def test_the_accuracy_of_a_reference_map_is_no_estimate_for_the_area(run: Path) -> None:
    one: dict[str, Any] = {"users_accuracy": 0.9, "users_interval": [0.88, 0.92],
                           "producers_accuracy": None, "producers_interval": [None, None],
                           "f1": None}  # fmt: skip
    part = {
        "overall": 0.925, "interval": [0.91, 0.94], "pixels": 1234567, "design": None,
        "classes": {"forest": one | {"value": 2}, "water": one | {"value": 1}},
        "confusion_matrix": [[9, 1], [2, 8]],
    }  # fmt: skip
    whole = part | {
        "distance_m": 1000.0, "training_labels": "/home/me/labels.gpkg", "notes": ["a note"],
        "references": {"2020": {"kind": "raster", "path": "/home/me/truth.tif"}},
        "periods": {"2020": part, "2022": part},
    }  # fmt: skip
    leave(run, "accuracy.json", whole)
    words = Page.of(rs.report(run)).words
    assert "Compared with a raster at 1,234,567 pixels." in words
    assert "This is no probability sample" in words
    assert "all periods : overall accuracy 92.5 %" in words or "all periods: overall" in words
    assert "water 9 1" in words  # by value, as the matrix has them
    assert "/home/me" not in words
