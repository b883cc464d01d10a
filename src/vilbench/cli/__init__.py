"""The commands; no logic of their own."""

from vilbench.cli.app import main

__all__ = ["main"]
