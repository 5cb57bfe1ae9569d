"""The tile functions of objects: detected in windows of imagery, traced from maps, counted."""
