"""Write a new recipe: from a few answers, and what a catalogue says of its imagery."""
