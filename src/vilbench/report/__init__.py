"""What a stored run shows: one self-contained HTML page, and tables for the terminal."""
