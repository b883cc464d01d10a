"""vilbench: a suite for vision-language process reward modelling.

From Python the usual ways begin here: `load_prm`, `load_generator`, `load_problems`, `problem`,
`Scorer`, `best_of_n`, `load_run` (`docs/api.md`). They are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vilbench.api import (
        Scored,
        Scorer,
        StoredRun,
        best_of_n,
        load_generator,
        load_prm,
        load_problems,
        load_run,
        problem,
    )

__version__ = "0.1.0"

__all__ = [
    "Scored",
    "Scorer",
    "StoredRun",
    "__version__",
    "best_of_n",
    "load_generator",
    "load_prm",
    "load_problems",
    "load_run",
    "problem",
]


def __getattr__(name: str) -> object:
    """What `vilbench.api` has, imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'vilbench' has no attribute {name!r}")
    import vilbench.api

    return getattr(vilbench.api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
