"""The transition matrix of a run as a table, files and a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formula_pass import CLASSES, allowed, formula_recipe
from PIL import Image

import rsscale as rs
from rsscale.cli import main
from rsscale.errors import RecipeError
from rsscale.pictures.charts import save_figure
from rsscale.reporting.named_times import open_named
from rsscale.reporting.transition_chart import transition_chart
from rsscale.reporting.transition_matrix import TransitionMatrix

NAMES = [one.name for one in CLASSES]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    import geopandas as gpd
    import shapely

    folder = tmp_path_factory.mktemp("reporting")
    zones = {"a/b": shapely.box(729_000, 4_979_000, 734_004, 4_990_000)}
    frame = gpd.GeoDataFrame({"code": list(zones)}, geometry=list(zones.values()), crs="EPSG:32631")
    frame.to_file(folder / "zones.gpkg")
    step: dict[str, Any] = {"kind": "transitions", "of": "map", "from": 2020, "to": 2022}
    step |= {"zones": str(folder / "zones.gpkg"), "id": "code"}
    options = {"layers": ["classification"]}
    with allowed():
        recipe = formula_recipe(
            folder, periods=[2020, 2022], options=options, steps={"transitions": step}
        )
        return rs.run(recipe, folder / "run", threads=1, device="cpu")


def test_the_matrix_is_that_of_the_rows(run: rs.Run) -> None:
    rows = run.table("transitions-hectares").to_pandas()
    for zone in ("", "a/b"):
        matrix = rs.transition_matrix(run, zone=zone)
        assert [one.name for one in matrix.classes] == NAMES
        assert [one.color for one in matrix.classes] == [one.color for one in CLASSES]
        of_zone = rows[rows["zone"] == zone]
        known = of_zone[of_zone["from"] != 255]
        for row in known.itertuples():
            at = NAMES.index(row.from_name), NAMES.index(row.to_name)
            assert matrix.hectares[at] == row.hectares
        assert matrix.hectares.sum() == pytest.approx(known["hectares"].sum())
        assert matrix.unknown == pytest.approx(of_zone["hectares"].sum() - known["hectares"].sum())
        table = matrix.table()
        assert table.loc["water", "built"] == matrix.hectares[0, 3]
        assert table.loc["total after", "total before"] == pytest.approx(matrix.hectares.sum())


def test_files_hold_all_rows_and_say_that_they_are_of_the_map(tmp_path: Path, run: rs.Run) -> None:
    paths = rs.write_transitions(run, tmp_path / "out", zones=["a/b"])
    assert [path.name for path in paths] == [
        "transitions.csv", "transitions.parquet", "transitions-matrix.csv", "transitions.png",
        "transitions-1-a_b-matrix.csv", "transitions-1-a_b.png",
    ]  # fmt: skip
    rows = run.table("transitions-hectares").to_pandas()
    pd.testing.assert_frame_equal(pd.read_parquet(paths[1]), rows)
    texts = pd.read_csv(paths[0], keep_default_na=False)
    assert texts["zone"].tolist() == rows["zone"].tolist()
    assert set(texts["estimator"]) == {"mapped"}
    np.testing.assert_allclose(texts["hectares"], rows["hectares"])
    matrix = pd.read_csv(paths[2], index_col=0)
    assert matrix.index.tolist() == [*NAMES, "total after"]
    assert matrix.columns.tolist() == [*NAMES, "total before"]
    picture = np.asarray(Image.open(paths[3]).convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    again = rs.write_transitions(run, tmp_path / "again")
    assert again[3].read_bytes() == paths[3].read_bytes()


def test_of_many_classes_those_that_changed_least_are_one() -> None:
    classes = tuple(rs.LandClass(k, f"class {k}", f"#{k:02x}8080") for k in range(30))
    hectares = np.arange(900.0).reshape(30, 30)
    small = TransitionMatrix(classes, hectares, 0.0, "", "2020-2021").largest(6)
    assert [one.name for one in small.classes] == [
        "class 25", "class 26", "class 27", "class 28", "class 29", "other classes",
    ]  # fmt: skip
    np.testing.assert_array_equal(small.hectares[:5, :5], hectares[25:, 25:])
    assert small.hectares.sum() == hectares.sum()


@pytest.mark.parametrize("changed", [0.0, 12.0])
def test_a_place_without_change_has_a_picture(tmp_path: Path, changed: float) -> None:
    hectares = np.diag([10.0, 0, 2, 3])
    hectares[0, 1] = changed
    matrix = TransitionMatrix(CLASSES, hectares, 0.0, "somewhere", "2020-2021")
    assert save_figure(transition_chart(matrix), tmp_path / "one.png").stat().st_size > 5000
    nothing = TransitionMatrix(CLASSES, np.zeros((4, 4)), 9.0, "", "2020-2021")
    save_figure(transition_chart(nothing), tmp_path / "two.png")


def test_what_is_not_there_is_named(tmp_path: Path, run: rs.Run) -> None:
    with pytest.raises(RecipeError, match="no step 'map' of kind transitions"):
        rs.transition_matrix(run, "map")
    with pytest.raises(RecipeError, match="no zone 'a'; it has a/b"):
        rs.transition_matrix(run, zone="a")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="is a file; give a folder"):
        rs.write_transitions(run, tmp_path / "file")
    with pytest.raises(RecipeError, match="give a local folder"):
        rs.write_transitions(run, "s3://bucket/place")


def test_the_command_names_its_files(
    tmp_path: Path, run: rs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["transitions", str(run.path), "--to", str(tmp_path)])
    assert ended.value.code in (0, None)
    assert len(capsys.readouterr().out.split()) == 4


def test_every_class_that_changed_is_named_however_small() -> None:
    names = ("water", "forest", "crops", "mine", "dune", "town")
    classes = tuple(rs.LandClass(k + 1, name, "#336699") for k, name in enumerate(names))
    hectares = np.diag([500.0] * 6)
    hectares[1, 2], hectares[2, 3], hectares[0, 4], hectares[3, 5] = 900.0, 0.3, 0.2, 0.1
    figure = transition_chart(TransitionMatrix(classes, hectares, 0.0, "", "2020-2021"))
    figure.canvas.draw()
    texts = [text for text in figure.axes[1].texts if text.get_text().endswith(" ha")]
    written = [text.get_text() for text in texts]
    assert {"dune  0.2 ha", "mine  0.3 ha", "town  0.1 ha", "water  0.2 ha"} <= set(written)
    boxes = [text.get_window_extent() for text in texts]
    frame = figure.bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])


def test_times_have_the_names_that_the_run_gives_them(run: rs.Run) -> None:
    assert open_named(run)["span"].data.tolist() == ["2020", "2022"]
    assert open_named(run, "transitions")["span"].data.tolist() == ["2020-2022"]
