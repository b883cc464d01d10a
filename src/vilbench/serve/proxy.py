"""`POST /v1/chat/completions`: the best of n candidates of an upstream engine."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from fastapi import Request
from pydantic import JsonValue
from starlette.responses import Response

from vilbench.errors import VilbenchError
from vilbench.serve.chat import (
    Candidate,
    ChatAnswer,
    ChatRequest,
    Choice,
    ImagePart,
    Message,
    Outcome,
    Part,
    Said,
    TextPart,
)
from vilbench.serve.faults import Refusal, busy, no_model, public, unscorable, wrong
from vilbench.serve.memory import Holding, holding
from vilbench.serve.protocol import TokenUsage
from vilbench.serve.reading import made_problem, made_solution
from vilbench.serve.scoring import scored
from vilbench.serve.service import Service, attended, service
from vilbench.serve.upstream import Upstream
from vilbench.steps import StepFormat, question_parts
from vilbench.types import Completion, Problem, Prompt, Sampling, StepScores, Usage

BEST_OF_N = "best-of-n"
"""A model name that every proxy answers to."""

DEFAULT_SAMPLES = 8
_MAX_TOKENS = 1024


def names(upstream: Upstream) -> tuple[str, ...]:
    """What the proxy answers to, its engine's own name first."""
    return tuple(dict.fromkeys((upstream.name, BEST_OF_N)))


async def complete(body: ChatRequest, request: Request) -> Response:
    """The best candidates of the upstream engine, by the served scorer."""
    state = service(request)
    upstream = state.upstream
    if upstream is None:
        raise Refusal(404, "no_upstream", "this server has no engine: it only scores")
    if body.model not in names(upstream):
        raise no_model(names(upstream), "model")
    if upstream.under_way >= state.limits.waiting:
        raise busy("too many requests wait for the upstream engine", 5)
    work = _answer(state, upstream, body, holding(request))
    answer = await attended(request, work, state.limits.seconds)
    if not body.stream:
        return Response(answer.model_dump_json(), media_type="application/json")
    usage = body.stream_options is not None and body.stream_options.include_usage
    events = "".join(f"data: {line}\n\n" for line in _chunks(answer, usage=usage))
    return Response(events, media_type="text/event-stream")


class _Asked(NamedTuple):
    """A request that can be answered."""

    problem: Problem
    prompt: Prompt
    draws: int
    wanted: int
    sampling: Sampling
    seed: int
    aggregation: str
    return_all: bool


async def _asked(body: ChatRequest, state: Service, held: Holding) -> _Asked:
    """Reads a request.

    Raises:
        Refusal: It cannot be scored, or is beyond a limit.
    """
    limits = state.limits
    wanted = body.n or 1
    draws = body.vilbench.n or max(DEFAULT_SAMPLES, wanted)
    if draws > limits.samples:
        raise wrong(f"at most {limits.samples} candidates", "vilbench.n", "too_many")
    if wanted > draws:
        raise wrong("more choices than candidates (vilbench.n)", "n")
    most = body.max_completion_tokens or body.max_tokens or min(_MAX_TOKENS, limits.max_tokens)
    if most > limits.max_tokens:
        raise wrong(f"at most {limits.max_tokens} tokens", "max_tokens", "too_many")
    aggregation = body.vilbench.aggregation or state.served.standing
    state.served.check((aggregation,), "vilbench.aggregation")
    turn = _turn(body.messages)
    urls = [part.image_url.url for part in turn.parts if isinstance(part, ImagePart)]
    instruction = state.served.format.instruction
    question = _question(turn.parts).removesuffix("\n" + instruction)
    for name, text in (("messages", question), ("messages.system", turn.system)):
        if len(text) > limits.characters:
            raise wrong(f"more than {limits.characters:,} characters", name, "too_long")
    if not question.strip() and not urls:
        raise wrong("the message is empty", "messages")
    images = await state.pictures.read(urls, "messages.images", held)
    problem = made_problem(question, (), images)
    instructed = body.vilbench.instruct or _question(turn.parts) != question
    return _Asked(
        problem=problem,
        prompt=_prompt(problem, turn.system, state.served.format if instructed else None),
        draws=draws,
        wanted=wanted,
        sampling=Sampling(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            max_tokens=most,
            stop=tuple(body.stop or ()),
        ),
        seed=secrets.randbits(63) if body.seed is None else body.seed % 2**63,
        aggregation=aggregation,
        return_all=body.vilbench.return_all,
    )


class _Turn(NamedTuple):
    """The one turn of a conversation that can be scored."""

    system: str
    parts: tuple[Part, ...]


def _turn(messages: Sequence[Message]) -> _Turn:
    """The user's turn and what stands above it.

    Raises:
        Refusal: There are several turns: step scores are of one question's solution.
    """
    told = "one user message, with system messages above it: solutions of dialogues have no scores"
    system: list[str] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        last = place == len(messages) - 1
        if message.tool_calls or message.tool_call_id or message.role in ("tool", "function"):
            raise wrong("tools are not served here", where, "unsupported")
        if message.role in ("system", "developer"):
            parts = _parts(message, where)
            if last or any(isinstance(part, ImagePart) for part in parts):
                raise wrong(told, where, "unsupported")
            system += [part.text for part in parts if isinstance(part, TextPart)]
        elif message.role != "user" or not last:
            raise wrong(told, where, "multi_turn")
    return _Turn("\n".join(system), _parts(messages[-1], f"messages[{len(messages) - 1}]"))


def _parts(message: Message, where: str) -> tuple[Part, ...]:
    content = message.content
    if content is None:
        raise wrong("has no content", where)
    return (TextPart(type="text", text=content),) if isinstance(content, str) else content


def _question(parts: Sequence[Part]) -> str:
    """The text of a turn; images among the text leave a mark, others go first.

    Where images stand in one block at an end of the message their place says nothing, and
    they are shown first, as the models have learnt it.
    """
    kinds = [isinstance(part, ImagePart) for part in parts]
    edges = [place for place in range(1, len(kinds)) if kinds[place] != kinds[place - 1]]
    marked = len(edges) > 1
    pieces: list[str] = []
    count = 0
    for part in parts:
        if isinstance(part, TextPart):
            pieces.append(part.text)
        else:
            count += 1
            if marked:
                pieces.append(f"<image {count}>")
    return "\n".join(pieces)


def _prompt(problem: Problem, system: str, format: StepFormat | None) -> Prompt:  # noqa: A002
    parts = question_parts(problem)
    if format is not None:
        parts = format.put(parts).parts
    return Prompt(parts, system=system)


async def _answer(
    state: Service, upstream: Upstream, body: ChatRequest, held: Holding
) -> ChatAnswer:
    asked = await _asked(body, state, held)
    found = await upstream.draw(asked.prompt, asked.draws, asked.sampling, asked.seed)
    found = [replace(one, text=_whole_characters(one.text)) for one in found]
    served = state.served
    solutions = [
        made_solution(asked.problem, k, one.text, served.format.split(one.text, state.limits.steps))
        for k, one in enumerate(found)
    ]
    outcomes = await scored(state, asked.problem, solutions, admitted=True)
    scores: list[float | None] = []
    for outcome in outcomes:
        values = outcome.values if isinstance(outcome, StepScores) else ()
        scores.append(served.aggregate(asked.aggregation, values))
    order = ranked(scores)
    if scores[order[0]] is None:
        errors = [one for one in outcomes if isinstance(one, VilbenchError)]
        if errors:
            raise unscorable(errors[0], behind_server=served.behind_server)
        raise Refusal(502, "no_verdict", "no candidate could be scored")
    chosen = {index: place for place, index in enumerate(order[: asked.wanted])}
    drawn = sum((one.usage for one in found), Usage())
    paid = sum((one.usage for one in outcomes if isinstance(one, StepScores)), Usage())
    return ChatAnswer(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=upstream.name,
        choices=tuple(
            Choice(
                index=place,
                message=Said(content=found[index].text),
                finish_reason=found[index].finish_reason,
            )
            for index, place in chosen.items()
        ),
        usage=TokenUsage.of(drawn),
        vilbench=Outcome(
            scorer=served.scorer.name,
            aggregation=asked.aggregation,
            n=len(found),
            scores=tuple(scores[index] for index in chosen),
            tied=scores.count(scores[order[0]]),
            candidates=_candidates(found, outcomes, scores, chosen) if asked.return_all else None,
            scoring=TokenUsage.of(paid),
        ),
    )


def _whole_characters(text: str) -> str:
    """Halves of characters, which a server's JSON can spell, as question marks."""
    return text.encode("utf-8", "replace").decode()


def ranked(scores: Sequence[float | None]) -> list[int]:
    """Indices from the best score to the worst; of equal ones the first, None at the end."""
    return sorted(
        range(len(scores)),
        key=lambda k: (scores[k] is None, -(scores[k] or 0.0), k),
    )


def _candidates(
    found: Sequence[Completion],
    outcomes: Sequence[StepScores | VilbenchError],
    scores: Sequence[float | None],
    chosen: dict[int, int],
) -> tuple[Candidate, ...]:
    told = []
    for index, (one, outcome, score) in enumerate(zip(found, outcomes, scores, strict=True)):
        failed = isinstance(outcome, VilbenchError)
        error = str(outcome) if isinstance(outcome, VilbenchError) else outcome.error
        told.append(
            Candidate(
                index=index,
                score=score,
                values=() if isinstance(outcome, VilbenchError) else outcome.values,
                chosen=chosen.get(index),
                content=one.text,
                finish_reason=one.finish_reason,
                error=public(error) if error else ("no score" if failed else None),
            )
        )
    return tuple(told)


def _chunks(answer: ChatAnswer, *, usage: bool) -> Iterator[str]:
    """A stream of the finished answer: one chunk with all text of each choice."""

    def chunk(choices: Sequence[JsonValue], **more: JsonValue) -> str:
        document: dict[str, JsonValue] = {
            "id": answer.id,
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
            "choices": list(choices),
            **({"usage": None} if usage else {}),
            **more,
        }
        return json.dumps(document)

    for one in answer.choices:
        said: JsonValue = {"role": "assistant", "content": one.message.content}
        yield chunk([{"index": one.index, "delta": said, "finish_reason": None}])
    last: list[JsonValue] = [
        {"index": one.index, "delta": {}, "finish_reason": one.finish_reason}
        for one in answer.choices
    ]
    yield chunk(last, vilbench=answer.vilbench.model_dump(mode="json"))
    if usage:
        yield chunk([], usage=answer.usage.model_dump(mode="json"))
    yield "[DONE]"
