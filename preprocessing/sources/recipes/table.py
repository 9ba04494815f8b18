"""The table of recipes. To add one, write a module with a `Recipe` and add it here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.recipes import (
    avspeech,
    celebv_hq,
    crema_d,
    grid,
    hdtf,
    lrs,
    mead,
    ravdess,
    talkvid,
    voxceleb,
)
from preprocessing.sources.recipes.layout import Recipe, Rows
from preprocessing.sources.remote import SourcePath

RECIPES: Final[Mapping[str, Recipe]] = {
    recipe.name: recipe
    for recipe in (
        *voxceleb.RECIPES,
        hdtf.RECIPE,
        mead.RECIPE,
        celebv_hq.RECIPE,
        talkvid.RECIPE,
        avspeech.RECIPE,
        *lrs.RECIPES,
        crema_d.RECIPE,
        ravdess.RECIPE,
        grid.RECIPE,
    )
}


def recipe_rows(name: str, folder: SourcePath, annotations: Path | None) -> Rows:
    """The rows of a corpus, each with the corpus's name and licence.

    Raises:
        ValueError: there is no such recipe, or the annotations are not what it reads.
        OSError: the annotations cannot be read.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; the recipes are: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    common = {"corpus": recipe.title} | ({"licence": recipe.licence} if recipe.licence else {})
    for row in recipe.rows(folder, annotations):
        yield row if isinstance(row, RefusedRow) else {**row, **common}
