"""What an engine may be asked for."""

from __future__ import annotations

from vilbench.errors import EngineError
from vilbench.types import Sampling


def check_demand(n: int, first: int, sampling: Sampling) -> None:
    """Refuses what no engine can do.

    Raises:
        EngineError: A value is out of range; the message names the field.
    """
    faults = {
        "n": n < 0,
        "first": first < 0,
        "temperature": not 0 <= sampling.temperature < float("inf"),
        "top_p": not 0 < sampling.top_p <= 1,
        "max_tokens": sampling.max_tokens < 1,
        "top_logprobs": not 0 <= sampling.top_logprobs <= 20,
        "stop": "" in sampling.stop,
    }
    wrong = [field for field, fault in faults.items() if fault]
    if wrong:
        raise EngineError(f"out of range: {', '.join(wrong)} in {sampling}, n={n}, first={first}")
