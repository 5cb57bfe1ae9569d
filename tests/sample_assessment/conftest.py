"""One run for all tests of this room; whoever changes it copies it."""

from collections.abc import Iterator

import pytest
from formula_pass import allowed, formula_recipe

import rsscale as rs


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rs.Run]:
    """Maps of two years that differ in some pixels, and the change between them."""
    folder = tmp_path_factory.mktemp("sampled")
    with allowed():
        recipe = formula_recipe(
            folder,
            tile=512,
            periods=[2022, 2023],
            options={"layers": ["classification"]},
            steps={
                "change": {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023}
            },
        )
        yield rs.run(recipe, folder / "run", threads=1, device="cpu")
