"""Objects of a run as files and tables: read by place, exported, counted, drawn."""
