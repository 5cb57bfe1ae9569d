"""Progress and log lines: bars on a terminal, one display a cell, JSON for collectors."""
