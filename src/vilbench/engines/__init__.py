"""Generators: local checkpoints and, later, servers."""
