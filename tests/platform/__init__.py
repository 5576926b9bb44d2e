"""Laws of what the program stands on: embedded database, settings, packaging."""
