"""Detectors over windows and images: what they find, and how they are trained."""
