"""What people look at: quicklooks of a finished map."""
