"""Tree search over the steps of one problem's solutions; pure: no model, no clock, no files.

    tree = Tree(problem.id, settings.rule, seed)
    search = begin(tree, settings)      # answer its rounds, then
    record = tree.record(stopped)       # what is stored; `targets` makes training values of it

A search is a generator (`requests.Search`): it yields rounds of requests to the policy and to
the evaluator and is sent their answers, so that whoever drives it owns all waiting, and a
search that is sent the same answers grows the same tree.
"""

from vilbench.search.again import Again
from vilbench.search.faults import FaultModel, fault_targets
from vilbench.search.guided import Found, Guided, found
from vilbench.search.omega import Omega
from vilbench.search.requests import (
    POLICY_FAILED,
    Answer,
    Continuation,
    Draw,
    Judge,
    Judged,
    Request,
    Round,
    Search,
    stream_seed,
)
from vilbench.search.rest import RestMcts
from vilbench.search.rollouts import Rollouts
from vilbench.search.rules import AnySettings, Settings, begin
from vilbench.search.targets import (
    TARGETS,
    Targets,
    judge_targets,
    omega_targets,
    rest_targets,
    rollout_targets,
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
    "POLICY_FAILED",
    "TARGETS",
    "Again",
    "Answer",
    "AnySettings",
    "Continuation",
    "Draw",
    "FaultModel",
    "Found",
    "Guided",
    "Judge",
    "Judged",
    "Node",
    "NodeRecord",
    "Omega",
    "Request",
    "RestMcts",
    "Rollouts",
    "Round",
    "Rule",
    "Search",
    "Settings",
    "Targets",
    "Tree",
    "TreeRecord",
    "backup",
    "begin",
    "expand",
    "fault_targets",
    "found",
    "judge_targets",
    "normalized",
    "omega_targets",
    "rest_targets",
    "rollout_targets",
    "stream_seed",
]
