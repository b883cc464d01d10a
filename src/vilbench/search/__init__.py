"""Tree search over the steps of one problem's solutions; pure: no model, no clock, no files.

A search is a generator (`requests.Search`): it yields rounds of requests to the policy and to
the evaluator and is sent their answers, so that whoever drives it owns all waiting, and a
search that is sent the same answers grows the same tree.
"""

from vilbench.search.requests import (
    Continuation,
    Draw,
    Judge,
    Judged,
    Round,
    Search,
    stream_seed,
)
from vilbench.search.tree import (
    Node,
    NodeRecord,
    Rule,
    Tree,
    TreeRecord,
    backup,
    expand,
    normalized,
)

__all__ = [
    "Continuation",
    "Draw",
    "Judge",
    "Judged",
    "Node",
    "NodeRecord",
    "Round",
    "Rule",
    "Search",
    "Tree",
    "TreeRecord",
    "backup",
    "expand",
    "normalized",
    "stream_seed",
]
