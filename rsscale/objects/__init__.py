"""Objects as rows: found by detectors or traced from maps, each of them once."""
