"""The inputs of a recipe over a box: read, masked, merged and reduced."""
