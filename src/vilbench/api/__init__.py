"""The short way from Python: load, score, evaluate, look. `import vilbench` offers all of it.

Everything here is calls of the rooms below and returns their records; what it leaves out can be
had there. Calls block, also within a running event loop, such as a notebook's.
"""

from vilbench.api.loading import load_generator, load_prm, load_problems, problem
from vilbench.api.scoring import Scored, Scorer
from vilbench.api.selecting import best_of_n
from vilbench.api.stored import StoredRun, load_run

__all__ = [
    "Scored",
    "Scorer",
    "StoredRun",
    "best_of_n",
    "load_generator",
    "load_prm",
    "load_problems",
    "load_run",
    "problem",
]
