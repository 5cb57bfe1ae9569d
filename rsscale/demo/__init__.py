"""The demo: from a simulated archive to a measured map of change."""
