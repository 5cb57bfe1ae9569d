"""Where the stages meet: a recipe in, a map out."""
