"""Processes that share a run's tiles through its folder: members, tasks, who has which."""
