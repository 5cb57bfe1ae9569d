"""The nouns of a run: passes, what they read, how recipes name them, and their fingerprints."""
