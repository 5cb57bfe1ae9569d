"""The rules of quality gates: pure functions on what was counted of a map, tile by tile."""
