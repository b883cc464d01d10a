"""Prices of tokens, what requests cost, and a limit that holds before the money is spent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vilbench.errors import EngineError
from vilbench.types import Usage

_MILLION = 1_000_000
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4,8}|latest)$")


@dataclass(frozen=True)
class TokenPrice:
    """Money for a million tokens, in US dollars.

    Attributes:
        prompt: Of tokens that the server is sent.
        completion: Of tokens that it writes.
        cached: Of prompt tokens that it had computed before; like `prompt` for None.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """What a request cost; `usage` as the server told it."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        spent = self.prompt * fresh + cached * usage.cached_tokens
        return (spent + self.completion * usage.completion_tokens) / _MILLION


PRICES: Mapping[str, TokenPrice] = MappingProxyType(
    {
        "gpt-4o": TokenPrice(2.50, 10.00, 1.25),
        "gpt-4o-mini": TokenPrice(0.15, 0.60, 0.075),
        "gpt-4.1": TokenPrice(2.00, 8.00, 0.50),
        "gpt-4.1-mini": TokenPrice(0.40, 1.60, 0.10),
        "gpt-4.1-nano": TokenPrice(0.10, 0.40, 0.025),
        "gpt-5": TokenPrice(1.25, 10.00, 0.125),
        "gpt-5-mini": TokenPrice(0.25, 2.00, 0.025),
        "gpt-5-nano": TokenPrice(0.05, 0.40, 0.005),
        "o3": TokenPrice(2.00, 8.00, 0.50),
        "o4-mini": TokenPrice(1.10, 4.40, 0.275),
    }
)
"""List prices of OpenAI's models that see images, 2026; a recipe's `price` goes before them."""


def price_of(model: str) -> TokenPrice | None:
    """The price of a model, or of the one that it is a dated snapshot of; None where unknown."""
    name = model.lower().rsplit("/", 1)[-1]
    return PRICES.get(name) or PRICES.get(_SNAPSHOT.sub("", name))


class BudgetSpentError(EngineError):
    """The money is spent; nothing more is asked for."""


class Purse:
    """Money spent and promised, against a limit.

    Before a request its highest cost is put aside, and given back with the answer: what is
    spent never passes the limit by more than the estimates of prompts are wrong. A request
    that does not fit beside those under way waits for them.

    Args:
        limit: Most money; None counts alone.
        price: None where it is not known; there is no limit then.
    """

    def __init__(self, limit: float | None, price: TokenPrice | None) -> None:
        self._limit = limit
        self._price = price
        self._promised = 0.0
        self._settled = asyncio.Event()
        self.spent = 0.0

    async def put_aside(self, most: Usage) -> float:
        """Waits until the highest cost of a request fits; what was put aside for it.

        Raises:
            BudgetSpentError: It does not fit, and nothing under way can give money back.
        """
        if self._price is None:
            return 0.0
        cost = self._price.of(most)
        while self._limit is not None and self.spent + self._promised + cost > self._limit:
            if self._promised <= 0:
                raise BudgetSpentError(
                    f"the budget of {self._limit:.2f} USD leaves {self._limit - self.spent:.4f}; "
                    f"the next request may cost {cost:.4f}"
                )
            self._settled.clear()
            await self._settled.wait()
        self._promised += cost
        return cost

    def settle(self, aside: float, usage: Usage | None) -> None:
        """Gives back what was put aside and takes what was spent.

        Args:
            aside: What `put_aside` gave.
            usage: Tokens of the answer; None where they are not known and the whole of what
                was put aside may have been spent.
        """
        spent = aside if usage is None or self._price is None else self._price.of(usage)
        self.spent += spent
        self._promised = max(0.0, self._promised - aside)
        if self._promised < 1e-9:
            self._promised = 0.0
        self._settled.set()

    def give_back(self, aside: float) -> None:
        """Gives back what was put aside for a request that cost nothing."""
        self.settle(aside, Usage())
