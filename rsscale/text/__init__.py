"""Words, numbers and tables for people, and secrets kept out of whatever is written."""
