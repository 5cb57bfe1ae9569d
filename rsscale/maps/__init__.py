"""Maps from arrays: prediction, change, accuracy."""
