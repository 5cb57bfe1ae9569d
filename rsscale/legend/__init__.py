"""The legend of a map: classes, their values in pixels, and the flag attributes that hold them."""
