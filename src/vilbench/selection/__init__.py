"""From step scores to the chosen solution.

`aggregation` makes one score of a solution's step scores, `ensemble` combines scorers,
`best_of` and `votes` tell the expected accuracy of a choice from `k` of a pool's `N`
solutions for every `k`, from one stored pool and exactly about ties. `weights` holds learned
scores over step values and positions, of one scorer or of several together; `fitting` makes them.
"""

from vilbench.selection.aggregation import AGGREGATIONS, Aggregation, aggregation
from vilbench.selection.best_of import best_of, oracle, pick, random
from vilbench.selection.curve import Curve
from vilbench.selection.ensemble import combine, exponential_weights, z_normalize
from vilbench.selection.votes import majority, weighted_majority

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "Curve",
    "aggregation",
    "best_of",
    "combine",
    "exponential_weights",
    "majority",
    "oracle",
    "pick",
    "random",
    "weighted_majority",
    "z_normalize",
]
