"""How texts, numbers, solutions and scores look: in the report, the viewer and the terminal."""
