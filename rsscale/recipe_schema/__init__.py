"""What a recipe may hold, told to editors and people: JSON Schema, tables of keys."""

from rsscale.recipe_schema.json_schema import recipe_schema

__all__ = ["recipe_schema"]
