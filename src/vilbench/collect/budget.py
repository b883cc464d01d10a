"""What searches cost, and the limits of it.

A limit of one tree is looked at between its rounds, so that it can be passed by one round; it
depends on nothing but the tree, and a replay stops at the same place. A limit of the whole run
decides how far the run gets and never what a tree looks like: trees that are under way when it
is reached stay unfinished, and a later start with a higher limit goes on with them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from vilbench.executors import Halt
from vilbench.store.records import Spent
from vilbench.types import Usage

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Money for a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt: int, completion: int) -> float:
        """What tokens cost."""
        return (self.prompt * prompt + self.completion * completion) / _MILLION


@dataclass(frozen=True)
class Prices:
    """Prices of both models, in one currency."""

    policy: Price = Price()
    evaluator: Price = Price()

    def of(self, spent: Ledger) -> float:
        """What a search cost."""
        policy = self.policy.of(spent.policy_prompt, spent.policy_completion)
        return policy + self.evaluator.of(spent.evaluator_prompt, spent.evaluator_completion)


@dataclass(frozen=True)
class Budget:
    """Most of what may be spent; None is no limit.

    Attributes:
        nodes: Nodes, without roots.
        policy_tokens: Tokens that the policy writes.
        evaluator_calls: Prefixes that the evaluator is asked about.
        seconds: Of a tree, the time that its rounds take; of a run, the time since it was
            started or gone on with.
        money: By the prices of the recipe.
    """

    nodes: int | None = None
    policy_tokens: int | None = None
    evaluator_calls: int | None = None
    seconds: float | None = None
    money: float | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self != _UNLIMITED

    def reached(self, spent: Ledger, prices: Prices) -> str:
        """Name of the first limit that is reached, such as "budget-nodes"; "" for none."""
        if not self.limited:
            return ""
        used: dict[str, tuple[float, float | None]] = {
            "nodes": (spent.nodes, self.nodes),
            "policy-tokens": (spent.policy_completion, self.policy_tokens),
            "evaluator-calls": (spent.evaluator_calls, self.evaluator_calls),
            "seconds": (spent.seconds, self.seconds),
            "money": (prices.of(spent), self.money),
        }
        for name, (value, most) in used.items():
            if most is not None and value >= most:
                return f"budget-{name}"
        return ""


_UNLIMITED = Budget()


@dataclass
class Ledger:
    """What has been spent so far, growing."""

    nodes: int = 0
    policy_prompt: int = 0
    policy_completion: int = 0
    policy_cached: int = 0
    policy_calls: int = 0
    continuations: int = 0
    evaluator_prompt: int = 0
    evaluator_completion: int = 0
    evaluator_cached: int = 0
    evaluator_calls: int = 0
    seconds: float = 0.0

    def add(self, spent: Spent) -> None:
        """Adds what a tree cost; its seconds are not those of a run."""
        self.nodes += spent.nodes
        self.policy_prompt += spent.policy.prompt_tokens
        self.policy_completion += spent.policy.completion_tokens
        self.policy_cached += spent.policy.cached_tokens
        self.policy_calls += spent.policy_calls
        self.continuations += spent.continuations
        self.evaluator_prompt += spent.evaluator.prompt_tokens
        self.evaluator_completion += spent.evaluator.completion_tokens
        self.evaluator_cached += spent.evaluator.cached_tokens
        self.evaluator_calls += spent.evaluator_calls

    def draw(self, usage: Usage, count: int) -> None:
        """Adds a request to the policy."""
        self.policy_prompt += usage.prompt_tokens
        self.policy_completion += usage.completion_tokens
        self.policy_cached += usage.cached_tokens
        self.policy_calls += 1
        self.continuations += count

    def judge(self, usage: Usage, count: int) -> None:
        """Adds prefixes that the evaluator was asked about."""
        self.evaluator_prompt += usage.prompt_tokens
        self.evaluator_completion += usage.completion_tokens
        self.evaluator_cached += usage.cached_tokens
        self.evaluator_calls += count

    def spent(self) -> Spent:
        """As it is stored."""
        return Spent(
            nodes=self.nodes,
            policy=Usage(
                prompt_tokens=self.policy_prompt,
                completion_tokens=self.policy_completion,
                cached_tokens=self.policy_cached,
            ),
            policy_calls=self.policy_calls,
            continuations=self.continuations,
            evaluator=Usage(
                prompt_tokens=self.evaluator_prompt,
                completion_tokens=self.evaluator_completion,
                cached_tokens=self.evaluator_cached,
            ),
            evaluator_calls=self.evaluator_calls,
            seconds=self.seconds,
        )


@dataclass
class Account:
    """What the whole run has spent, against its limits.

    Attributes:
        budget: Limits of the run.
        prices: For the limit of money.
        ledger: Spent before and since this start.
        halt: No round of requests is begun once it is asked for.
    """

    budget: Budget
    prices: Prices
    ledger: Ledger = field(default_factory=Ledger)
    started: float = field(default_factory=time.monotonic)
    halt: Halt = field(default_factory=Halt)

    def reached(self) -> str:
        """Name of the limit that is reached, "interrupt" for a wish to stop; "" for none."""
        if self.halt.asked:
            return "interrupt"
        if self.budget.limited:
            self.ledger.seconds = time.monotonic() - self.started
        return self.budget.reached(self.ledger, self.prices)
