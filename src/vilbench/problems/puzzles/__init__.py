"""Procedural visual puzzles with gold steps and an exact checker of every step."""

from vilbench.problems.puzzles.checker import StepCheck, check
from vilbench.problems.puzzles.puzzle import FAMILIES, KINDS, Puzzle, Split, draw, puzzles

__all__ = ["FAMILIES", "KINDS", "Puzzle", "Split", "StepCheck", "check", "draw", "puzzles"]
