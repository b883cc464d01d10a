"""Asking for steps and splitting them: the instruction and its parser are one thing.

A `StepFormat` pairs an instruction with the strategy that reads what it asked for. Every
strategy cuts the text at some of its positions; no strategy cuts inside code (fences and
inline), LaTeX or a list, and the trailing answer line stays with the step before it.

    marker      one step per "Step 1:", "**Step 2**", "### Step 3", else per "### title", else
                per "1." or "1)"; without any of them, like `blank-line`
    blank-line  one step per paragraph; one whole step where there is no blank line
    newline     one step per line
    sentence    one step per sentence; a paragraph ends a sentence too

"Step k" markers beat headings, and those beat bare numbers, so that a list inside of a step
never tears it. Numbers must make a sequence: a line that wraps at "12. " is no marker.
Text before the first marker belongs to the first step; a bare heading there ("### Solution",
"Solution:") is in no step. Model text is hostile: all of this takes near-linear time.
"""

from vilbench.steps.format import FORMATS, FormatName, StepFormat, extended, question_parts
from vilbench.steps.segments import SEGMENTATIONS, Segmentation
from vilbench.steps.splitting import Strategy, split

__all__ = [
    "FORMATS",
    "SEGMENTATIONS",
    "FormatName",
    "Segmentation",
    "StepFormat",
    "Strategy",
    "extended",
    "question_parts",
    "split",
]
