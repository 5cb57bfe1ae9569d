"""Two images of one place: their shift, and the radiometry that relates them."""
