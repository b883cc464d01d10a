"""Problem sets: own data from files, procedural puzzles."""
