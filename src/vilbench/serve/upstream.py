"""The engine that draws candidates for the proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vilbench.errors import EngineError
from vilbench.serve.faults import Refusal
from vilbench.serve.renewal import Renewed
from vilbench.types import Completion, Prompt, Sampling


class Upstream:
    """An engine that outlives its faults.

    Args:
        make: Makes the engine, a `Generator` with `aclose`.

    Attributes:
        name: The model's name.
        fingerprint: Of the engine.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        first = make()
        self._renewed: Renewed[Any] = Renewed(first, make, lambda engine: (engine,))
        self.name: str = first.name
        self.fingerprint: str = first.fingerprint

    @property
    def under_way(self) -> int:
        """Requests that wait for it."""
        return self._renewed.under_way

    async def draw(self, prompt: Prompt, n: int, sampling: Sampling, seed: int) -> list[Completion]:
        """`n` completions, or fewer.

        Raises:
            Refusal: There is not one.
        """
        async with self._renewed.using() as engine:
            try:
                found: list[Completion] = await engine.generate(prompt, n, sampling, seed)
            except EngineError as error:
                raise _refusal(error) from error
        if not found:
            raise Refusal(502, "upstream_failed", "the upstream engine gave no answer")
        return found

    async def aclose(self) -> None:
        """Closes the engine."""
        await self._renewed.aclose()


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
