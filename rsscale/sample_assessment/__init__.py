"""A run measured by an interpreted sample: accuracies and areas, and the files that hold them."""
