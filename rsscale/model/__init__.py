"""The contract of a model: what it reads, on which windows, and what it gives back."""
