"""How work is spread: over the turns of one event loop, or over workers of a cluster.

`bounded` maps over items, so many at a time. `pool` hands jobs to workers and hands them out
again where a worker is lost; `models` are generators and scorers whose calls are such jobs;
`bench` is what a worker holds, and `cluster` has the workers of Ray.
"""

from vilbench.executors.bounded import Halt, Outcome, map_bounded

__all__ = ["Halt", "Outcome", "map_bounded"]
