"""Training of detectors: the loop, what is found and measured, the report, its pictures."""
