"""Tables and pictures of what a run has made, for people."""
