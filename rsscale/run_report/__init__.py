"""The report of a run: one page for people, with all that it is made from."""
