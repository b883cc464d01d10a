"""What an engine has done so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vilbench.types import Usage


@dataclass
class Counts:
    """Counters of one engine, growing.

    Attributes:
        requests: HTTP requests, those that were made again included.
        answers: Requests that gave at least one sample.
        samples: Samples handed out.
        topped_up: Requests for samples that an answer lacked.
        retries: Requests made again, by the kind of fault that was the reason.
        failures: Requests given up, by the kind of the last fault.
        unread_logprobs: Samples whose log-probabilities could not be used.
        unmetered: Answers that told no token counts.
        usage: Tokens, as the server told them.
        spent_usd: Money, where the price is known.
        models: Answers by the name of the model that gave them.
        in_flight: Requests under way.
        most_in_flight: Most of them at once.
        limit: Most that the server takes at present, as far as is known.
    """

    requests: int = 0
    answers: int = 0
    samples: int = 0
    topped_up: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    unread_logprobs: int = 0
    unmetered: int = 0
    usage: Usage = field(default_factory=Usage)
    spent_usd: float = 0.0
    models: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    limit: int = 0

    def told(self) -> str:
        """One line about what is worth telling."""
        parts = [f"{self.requests:,} requests", f"{self.samples:,} samples"]
        if self.retries:
            parts.append(f"{self.retries.total():,} asked again ({_listed(self.retries)})")
        if self.failures:
            parts.append(f"{self.failures.total():,} given up ({_listed(self.failures)})")
        if self.topped_up:
            parts.append(f"{self.topped_up:,} topped up")
        if self.unread_logprobs:
            parts.append(f"{self.unread_logprobs:,} without usable log-probabilities")
        if self.unmetered:
            parts.append(f"{self.unmetered:,} answers without token counts")
        tokens = self.usage
        parts.append(f"{tokens.prompt_tokens:,} + {tokens.completion_tokens:,} tokens")
        if self.spent_usd:
            parts.append(f"{self.spent_usd:.4f} USD")
        if len(self.models) > 1:
            parts.append(f"answered by {_listed(self.models)}")
        return ", ".join(parts)


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} x {count}" for name, count in counter.most_common())
