"""The plan of a run: checked, frozen in its folder, what its tiles cost, how it may grow."""
