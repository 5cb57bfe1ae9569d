"""How right a map is, away from what it was trained on."""
