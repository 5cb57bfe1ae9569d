"""From labelled samples to a measured model: splits, folds, calibration, reports."""
