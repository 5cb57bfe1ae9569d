"""Detectors of torchvision for windows of any number of channels, and their parts."""
