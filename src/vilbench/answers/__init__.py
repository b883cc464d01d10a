r"""Final answers: found in a reply, brought to one form, graded.

Where an answer is read, in this order; the first that is there decides, even when what it
says cannot be read:

1. the last "Answer:" line, answer heading or `<answer>` tag;
2. the last closed `\boxed{}`;
3. the last "the answer is ...";
4. for a choice a letter in the last line;
5. for a choice or a number a last line that draws a conclusion ("Therefore, x is 30.");
6. a reply of one short line, whole.

None means that nothing could be read (verdict `unparsed`). Nothing is evaluated: "3 + 4" is
no number. Replies are hostile: all of this takes linear time.
"""

from vilbench.answers.grading import Reading, extract, grade, normalize, read, soon
from vilbench.answers.kinds import kind_of
from vilbench.answers.statements import stated

__all__ = [
    "Reading",
    "extract",
    "grade",
    "kind_of",
    "normalize",
    "read",
    "soon",
    "states",
]


def states(text: str) -> bool:
    """Whether a text says that something is the answer, in one of the ways 1 to 3."""
    return stated(text) is not None
