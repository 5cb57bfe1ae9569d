"""Change between maps: arrays in, arrays out."""
