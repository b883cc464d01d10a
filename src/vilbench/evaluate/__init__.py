"""Best-of-N runs: sample, score, and what the stored run shows."""
