"""Networks that rsscale has by name; none takes a statistic over a window when it is used."""
