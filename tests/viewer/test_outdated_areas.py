"""Areas of another version of the map are told of, and those of the map shown are not."""

import json
import shutil
from pathlib import Path

import pytest

from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import step_version
from rsscale.viewer.document import viewer_document


@pytest.mark.parametrize(
    ("assessed", "is_of_this_map", "is_told"),
    [
        ("2000-01-01T00:00:00+00:00", False, True),
        ("2000-01-01T00:00:00+00:00", True, False),  # only overviews were added since, say
        ("2100-01-01T00:00:00+00:00", True, False),
    ],
)
def test_areas_are_of_the_map_that_is_shown(
    viewed_run: Path, tmp_path: Path, assessed: str, is_of_this_map: bool, is_told: bool
) -> None:
    copy = shutil.copytree(viewed_run, tmp_path / "run")
    folder = RunFolder.at(copy)
    version = step_version(folder) if is_of_this_map else "0" * 16
    areas = json.loads((copy / "areas.json").read_text())
    areas |= {"assessed": assessed, "step": "map", "version": version}
    (copy / "areas.json").write_text(json.dumps(areas))
    notes = viewer_document(folder)["notes"]
    assert [note for note in notes if "another version of the map" in note] == notes
    assert bool(notes) == is_told
