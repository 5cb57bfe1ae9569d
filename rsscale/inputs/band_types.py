"""What a recipe says of the numbers of its bands, against the types that the items declare."""

from __future__ import annotations

import numpy as np

from rsscale.cube.mask_rules import check_nodata, mask_rules, nodata_rule
from rsscale.items.records import Scenes
from rsscale.recipe import InputRecipe


def check_band_types(input_recipe: InputRecipe, scenes: Scenes) -> None:
    """Refuse bits, codes and nodata that no number of a band has, before anything is read.

    Only of bands whose type all items say; that of others is in the headers of the files, which are
    read with the first tile, and refuse the same then.

    Parameters
    ----------
    input_recipe : InputRecipe
    scenes : Scenes
        All that it may read.

    Raises
    ------
    RecipeError
        Which names the band, its type, and what it does not have.
    """
    rules = mask_rules(input_recipe.mask.rule) if input_recipe.mask else ()
    for rule in rules:
        kind = _type_of(rule.band, scenes)
        if kind is not None:
            rule.check_type(kind)
    for band, values in nodata_rule(input_recipe.nodata or {}).items():
        check_nodata(band, values, _type_of(band, scenes))


def _type_of(band: str, scenes: Scenes) -> np.dtype[np.generic] | None:
    """The smallest type that holds a band's numbers; None where an item does not say it."""
    at = scenes.names.index(band)
    kinds = {record.bands[at].dtype for record in scenes}
    known = [np.dtype(kind) for kind in kinds if kind is not None]
    return np.result_type(*known) if known and None not in kinds else None
