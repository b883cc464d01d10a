"""Probes: the scorer is asked again about inputs that were changed in a known way."""
