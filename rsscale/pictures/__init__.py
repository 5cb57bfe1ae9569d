"""Pictures of maps: quicklooks with a legend, and true colour."""
