"""A model behind a server as a Generator."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

import httpx2
from pydantic import JsonValue

from vilbench.engines.demand import check_demand
from vilbench.engines.openai import connections, messages
from vilbench.engines.openai.attempts import Patience, persistently
from vilbench.engines.openai.counts import Counts
from vilbench.engines.openai.estimate import image_tokens, most_prompt_tokens
from vilbench.engines.openai.faults import NO_CONNECTION, RequestFault, fault_of
from vilbench.engines.openai.gate import Gate
from vilbench.engines.openai.money import BudgetSpentError, Purse, TokenPrice, price_of
from vilbench.engines.openai.pictures import ImagePolicy, Picture, Pictures
from vilbench.engines.openai.reply import Answer, is_same_model, read
from vilbench.errors import EngineError, InputError
from vilbench.types import Completion, Prompt, Sampling, Usage

_NOTHING: Mapping[str, JsonValue] = MappingProxyType({})
_SINGLE = 2
"""Answers in a row with one sample in place of several that show that a server takes no `n`."""


class _Share(NamedTuple):
    """A part of the samples that are asked for, in one request."""

    n: int
    seed: int


class OpenAIEngine:
    """A `Generator` of a model behind a server that speaks chat completions.

    The samples of a prompt are asked for together where the server honours `n`, and the image
    is paid once; what an answer lacks is asked for again. A request that fails for good takes
    its own samples: those that other requests brought are handed out, fewer than asked for. A
    fault that every further request would meet (a wrong key, a spent quota or budget, a wait
    that is too long, a server that was never there) ends the engine: nothing more is sent, and
    what is under way is still handed out.

    Samples of a server are exchangeable draws. Seeds are sent, and the same call has the same
    ones; but no two requests share one, for a server that honours seeds would give a sample
    twice. So a call for completions 8 to 15 does not give the second half of one for 0 to 15.

    Args:
        model: Its name at the server.
        dialect: Whose dialect the server speaks.
        base_url: Up to and with `/v1`; None is OpenAI's own. No part of the fingerprint.
        api_key: It appears in no message.
        revision: A word for what the name does not say; part of the fingerprint.
        concurrency: Most requests in flight.
        price: None takes the model's from the table.
        budget: Most money that may be spent, in US dollars.
        images: What is sent of images.
        max_n: Most samples in one request.
        top_logprobs: Most alternatives a token that the server gives.
        answers_as: Other names that answers may bear.
        patience: Time limits and attempts.
        extra: Further fields of every request.
        omit: Fields that no request has, of `temperature`, `top_p` and `seed`.

    Raises:
        InputError: There is a budget and no price.
    """

    def __init__(
        self,
        model: str,
        dialect: messages.Dialect = "openai",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        revision: str = "",
        concurrency: int = 64,
        price: TokenPrice | None = None,
        budget: float | None = None,
        images: ImagePolicy | None = None,
        max_n: int = 128,
        top_logprobs: int = 20,
        answers_as: Sequence[str] = (),
        patience: Patience | None = None,
        extra: Mapping[str, JsonValue] = _NOTHING,
        omit: Sequence[str] = (),
    ) -> None:
        price = price or price_of(model)
        if budget is not None and price is None:
            raise InputError(f"a budget needs the price of '{model}'", field="price")
        self._model = messages.Model(model, dialect, extra, top_logprobs, tuple(omit))
        self._revision = revision
        self._policy = images or ImagePolicy()
        self._pictures = Pictures(self._policy)
        self._patience = patience or Patience()
        self._key = api_key
        self._client = connections.client(base_url, api_key, self._patience)
        self._gate = Gate(concurrency)
        self._purse = Purse(budget, price)
        self._max_n = max_n
        self._answers_as = tuple(answers_as)
        self._counts = Counts()
        self._ended = ""
        self._url = base_url or connections.OPENAI_URL
        self._reached = False
        self._single = 0

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def fingerprint(self) -> str:
        """Changes with the model's name, dialect, revision, image policy and what is sent."""
        model = self._model
        parts = (
            *("openai", model.name, model.dialect, self._revision),
            *(self._policy.fingerprint, str(model.top_logprobs)),
            json.dumps(dict(model.extra), sort_keys=True),
            *sorted(model.omit),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def ended(self) -> str:
        """Why nothing more is sent; "" while requests go out."""
        return self._ended

    @property
    def counts(self) -> Counts:
        """What has been done so far, as of now."""
        return dataclasses.replace(
            self._counts,
            retries=self._counts.retries.copy(),
            failures=self._counts.failures.copy(),
            models=self._counts.models.copy(),
            spent_usd=self._purse.spent,
            in_flight=self._gate.in_flight,
            most_in_flight=self._gate.most_in_flight,
            limit=self._gate.limit,
        )

    def state(self) -> str:
        """A few words while it works, for a line of progress; "" where all goes well."""
        counts = self._counts
        parts = []
        if counts.retries:
            parts.append(f"{counts.retries.total():,} asked again")
        if counts.failures:
            parts.append(f"{counts.failures.total():,} given up")
        if parts:
            parts.append(f"{self._gate.in_flight} of at most {self._gate.limit} in flight")
        return ", ".join(parts)

    @property
    def images_made(self) -> int:
        """Images encoded so far."""
        return self._pictures.made

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """Completions number `first` to `first + n - 1`, or fewer; see `Generator.generate`.

        `Completion.tokens` is filled where `sampling.top_logprobs` is above 0 and what the
        server lists spells the text. The prompt's tokens count as cached for all but the
        first sample of a request.

        Raises:
            EngineError: The sampling's values are out of range, an image cannot be sent, the
                server does not go on from a prefill, or not one sample could be had.
        """
        check_demand(n, first, sampling)
        if n == 0:
            return []
        try:
            pictures = [await self._pictures.of(image) for image in prompt.images]
        except InputError as error:
            raise EngineError(str(error)) from error
        found: list[Completion] = []
        failure: EngineError | None = None
        most = self._max_n
        for round_number in range(max(self._patience.attempts, _SINGLE) + 1):
            start = messages.first_seed(seed, first, round_number)
            lacking = n - len(found)
            shares = [
                _Share(min(most, lacking - begin), start + begin)
                for begin in range(0, lacking, most)
            ]
            self._counts.topped_up += len(shares) if round_number else 0
            answers = await self._ask_all(prompt, pictures, sampling, shares)
            for share, answer in zip(shares, answers, strict=True):
                if isinstance(answer, EngineError):
                    failure = failure or answer
                    continue
                found += answer.completions
                if share.n > 1:
                    most = min(most, self._learn(share.n, answer.offered))
            if failure is not None or len(found) == n:
                break
        if not found and failure is not None:
            raise failure
        self._counts.samples += len(found)
        return found

    async def aclose(self) -> None:
        """Closes the connections; requests that are not done fail."""
        self._ended = self._ended or "the engine is closed"
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _learn(self, asked: int, offered: int) -> int:
        """How many samples to ask for at once of a server that gave `offered` of `asked`."""
        if offered > 1:
            self._single = 0
            return min(offered, self._max_n) if offered < asked else self._max_n
        self._single += 1
        if self._single >= _SINGLE:
            self._max_n = 1  # it takes no n at all
        return self._max_n

    async def _ask_all(
        self,
        prompt: Prompt,
        pictures: Sequence[Picture],
        sampling: Sampling,
        shares: Sequence[_Share],
    ) -> list[Answer | EngineError]:
        if len(shares) == 1:
            return [await self._ask(prompt, pictures, sampling, shares[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._ask(prompt, pictures, sampling, share)) for share in shares
            ]
        return [task.result() for task in tasks]

    async def _ask(
        self, prompt: Prompt, pictures: Sequence[Picture], sampling: Sampling, share: _Share
    ) -> Answer | EngineError:
        """An answer, or why there is none: samples of other requests must not go with it."""
        try:
            made = messages.fields(self._model, prompt, share.n, sampling, share.seed)
            data = messages.body(prompt, [picture.part for picture in pictures], made)
            most = self._most(prompt, pictures, sampling, share.n)
            return await persistently(
                lambda: self._attempt(data, most, share.n, sampling), self._patience, self._note
            )
        except RequestFault as fault:
            self._counts.failures[fault.kind] += 1
            if fault.kind == NO_CONNECTION and not self._reached:
                told = f"{self._url} has never answered; is the server running there? ({fault})"
                self._ended = self._ended or told
                return EngineError(told)
            return fault
        except EngineError as error:
            return error

    def _most(
        self, prompt: Prompt, pictures: Sequence[Picture], sampling: Sampling, n: int
    ) -> Usage:
        tiles = self._model.dialect == "openai"
        images = (
            image_tokens(picture.size, tiles=tiles, detail=self._policy.detail)
            for picture in pictures
        )
        return Usage(
            prompt_tokens=most_prompt_tokens(prompt, images),
            completion_tokens=n * sampling.max_tokens,
        )

    def _note(self, fault: RequestFault) -> None:
        self._counts.retries[fault.kind] += 1

    async def _attempt(self, data: bytes, most: Usage, n: int, sampling: Sampling) -> Answer:
        passage = await self._gate.enter()
        aside = 0.0
        spent: Usage | None = Usage()
        try:
            if self._ended:
                raise EngineError(self._ended)
            aside = await self._purse.put_aside(most)
            spent = None  # what is not answered to the end may have to be paid
            self._counts.requests += 1
            async with asyncio.timeout(self._patience.call_s):
                response = await self._client.post(
                    "/chat/completions", cast_to=httpx2.Response, content=data
                )
            answer = read(response.content, response.headers.get("content-type", ""), n, sampling)
            self._reached = True
            spent = answer.usage
            self._check_model(answer)
        except Exception as error:
            fault = self._fault(error)
            if fault is None:
                self._gate.leave()
                raise
            if not fault.billed:
                spent = Usage()
            if fault.wait_s is not None and not self._waits_too_long(fault):
                self._gate.close_for(fault.wait_s)
            if fault.refused:
                self._gate.refused(passage)
            else:
                self._gate.leave()
            raise fault from None
        except BaseException:
            self._gate.leave()
            raise
        finally:
            self._purse.settle(aside, spent)
        self._gate.answered(passage)
        self._count(answer)
        return answer

    def _fault(self, error: Exception) -> RequestFault | None:
        """The fault of an exception, without the key; None for what is no request's fault.

        A fault that every request would meet ends the engine.
        """
        fault = fault_of(error)
        if fault is not None and self._key:
            fault.hide(self._key)
        if fault is not None:
            self._reached = self._reached or fault.kind != NO_CONNECTION
            if self._waits_too_long(fault):
                fault.fatal = True
                most = self._patience.longest_wait_s
                fault.args = (
                    f"the server asks to wait {fault.wait_s:.0f} s, more than the {most:.0f} s "
                    f"of patience.longest_wait_s ({fault})",
                )
        if isinstance(error, BudgetSpentError) or (fault is not None and fault.fatal):
            self._ended = self._ended or str(fault or error)
        return fault

    def _waits_too_long(self, fault: RequestFault) -> bool:
        """Whether it could be asked again, but only after more than the longest wait."""
        longest = self._patience.longest_wait_s
        return fault.retry and fault.wait_s is not None and fault.wait_s > longest

    def _check_model(self, answer: Answer) -> None:
        """Refuses the answer of another model.

        Raises:
            RequestFault: It is one's; where no answer has been right yet, none will be.
        """
        if not is_same_model(self._model.name, answer.model, self._answers_as):
            given = answer.model.replace(self._key, "[key]") if self._key else answer.model
            told = f"'{given[:100]}' answered in place of '{self._model.name}'"
            raise RequestFault(
                f"{told}; 'answers_as' lists names to take",
                "other-model",
                fatal=self._counts.answers == 0,
                billed=True,
            )

    def _count(self, answer: Answer) -> None:
        counts = self._counts
        counts.usage += answer.usage or Usage()
        counts.unmetered += answer.usage is None
        counts.answers += 1
        counts.models[answer.model] += 1
        counts.unread_logprobs += answer.unread_logprobs
