"""The contract of a model: inputs, windows, outputs."""
