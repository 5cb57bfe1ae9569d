"""The passes that count areas: of classes in zones, and of what became what."""
