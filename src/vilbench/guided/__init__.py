"""Guided search as a run: the solutions that searches found, with the values that led to them."""
