"""The engine that draws candidates for the proxy; one that gave up for good is made anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vilbench.errors import EngineError
from vilbench.serve.faults import Refusal
from vilbench.types import Completion, Prompt, Sampling


class Upstream:
    """An engine that outlives its faults.

    An engine of a run stops at a fault that every further request would meet, such as a wrong
    key or a server that was never there. A proxy goes on: the next request gets a new engine.

    Args:
        make: Makes the engine, a `Generator` with `aclose`.

    Attributes:
        name: The model's name.
        fingerprint: Of the engine.
        under_way: Requests that wait for it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._engine = make()
        self.under_way = 0
        self._worn: list[Any] = []
        self.name: str = self._engine.name
        self.fingerprint: str = self._engine.fingerprint

    async def draw(self, prompt: Prompt, n: int, sampling: Sampling, seed: int) -> list[Completion]:
        """`n` completions, or fewer.

        Raises:
            Refusal: There is not one.
        """
        engine = self._engine
        self.under_way += 1
        try:
            found: list[Completion] = await engine.generate(prompt, n, sampling, seed)
        except EngineError as error:
            if getattr(engine, "ended", "") and engine is self._engine:
                self._worn.append(engine)
                self._engine = self._make()
            raise _refusal(error) from error
        finally:
            self.under_way -= 1
            if not self.under_way:
                await self._close_worn()
        if not found:
            raise Refusal(502, "upstream_failed", "the upstream engine gave no answer")
        return found

    async def aclose(self) -> None:
        """Closes the engine."""
        self._worn.append(self._engine)
        await self._close_worn()

    async def _close_worn(self) -> None:
        while self._worn:
            close = getattr(self._worn.pop(), "aclose", None)
            if close is not None:
                await close()


def _refusal(error: EngineError) -> Refusal:
    """What the client is told; the upstream's own words stay here."""
    kind = getattr(error, "kind", "")
    if kind in ("no-answer", "too-slow"):
        return Refusal(504, "upstream_timeout", "the upstream engine did not answer in time")
    if kind == "429":
        wait = getattr(error, "wait_s", None)
        seconds = 1 if wait is None else max(1, min(600, int(wait) + 1))
        return Refusal(
            *(429, "upstream_busy", "the upstream engine takes no more requests"),
            headers={"retry-after": str(seconds)},
        )
    if kind in ("400", "413", "422"):
        return Refusal(400, "upstream_refused", "the upstream engine refused the request")
    return Refusal(502, "upstream_failed", "the upstream engine failed")
