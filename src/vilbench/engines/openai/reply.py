"""What is read from an answer, and what makes it none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any

from vilbench.engines.openai.faults import status_fault, unreadable
from vilbench.engines.openai.spelling import NoSpelling, spelled
from vilbench.types import Completion, FinishReason, Sampling, Token, Usage

_REASONS: Mapping[str, FinishReason] = MappingProxyType(
    {
        **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
        **dict.fromkeys(("length", "max_tokens"), "length"),
        **dict.fromkeys(("content_filter", "safety"), "content_filter"),
    }
)
_VARIANT = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{3,8}|-latest|:latest|@[\w./-]{1,64})")


@dataclass(frozen=True)
class Answer:
    """One answer of a server.

    Attributes:
        completions: Samples that can be used, in the server's order.
        offered: Choices that it gave, usable or not.
        faults: Why the others cannot be used.
        usage: Tokens of the whole answer; None where it tells none.
        model: Who answered, "" where it does not say.
        unread_logprobs: Samples whose log-probabilities could not be used.
    """

    completions: tuple[Completion, ...]
    offered: int
    faults: tuple[str, ...]
    usage: Usage | None
    model: str
    unread_logprobs: int


@dataclass(frozen=True)
class _Choice:
    text: str
    reason: FinishReason
    tokens: tuple[Token, ...]
    unread: bool


def read(data: bytes, kind: str, n: int, sampling: Sampling) -> Answer:
    """An answer with status 200.

    Args:
        data: Its body.
        kind: Its content type.
        n: Choices asked for; more are dropped.
        sampling: What was asked for.

    Raises:
        RequestFault: It is no answer, or holds no choice that can be used.
    """
    said = _parsed(data, kind)
    listed = said.get("choices")
    if not isinstance(listed, list) or not listed:
        raise unreadable("the answer has no choices", "no-choices")
    choices: list[_Choice] = []
    faults: list[str] = []
    for item in _once_each(listed)[:n]:
        try:
            choices.append(_choice(item, sampling))
        except ValueError as fault:
            faults.append(str(fault))
    if not choices:
        raise unreadable("no choice of the answer can be used", "no-content", faults[0])
    usage = _usage(said.get("usage"))
    model = said.get("model")
    return Answer(
        completions=tuple(_completions(choices, usage, sampling.max_tokens)),
        offered=len(listed),
        faults=tuple(faults),
        usage=usage,
        model=model if isinstance(model, str) else "",
        unread_logprobs=sum(choice.unread for choice in choices),
    )


def is_same_model(asked: str, answered: str, others: Sequence[str] = ()) -> bool:
    """Whether an answer's model is the one that was asked for.

    A provider's prefix and a dated or latest snapshot of the same model are; "" says
    nothing and passes.
    """
    if not answered or answered in (asked, *others):
        return True
    wanted, given = (name.lower().rsplit("/", 1)[-1] for name in (asked, answered))
    return given == wanted or (
        given.startswith(wanted) and _VARIANT.fullmatch(given, len(wanted)) is not None
    )


def _parsed(data: bytes, kind: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        if "html" in kind or data.lstrip()[:1] == b"<":
            raise unreadable("the answer is a web page, not JSON", "web-page") from error
        said = data.decode("utf-8", "replace")
        raise unreadable("the answer is no JSON, or was cut", "broken-json", said) from error
    if not isinstance(said, dict):
        raise unreadable("the answer is no JSON object", "broken-json")
    told_error = said.get("error")
    if told_error:
        code = told_error.get("code") if isinstance(told_error, Mapping) else None
        raise status_fault(code if isinstance(code, int) else 200, {}, told_error)
    return said


def _once_each(choices: Sequence[Any]) -> list[Any]:
    """The choices without any whose index was given before: the same sample counts once."""
    met: set[int] = set()
    kept = []
    for item in choices:
        index = item.get("index") if isinstance(item, Mapping) else None
        if isinstance(index, int) and not isinstance(index, bool):
            if index in met:
                continue
            met.add(index)
        kept.append(item)
    return kept


def _choice(item: object, sampling: Sampling) -> _Choice:
    """A choice.

    Raises:
        ValueError: It cannot be used.
    """
    message = item.get("message") if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or not isinstance(message, Mapping):
        raise ValueError("a choice has no message")
    named = item.get("finish_reason")
    reason = _REASONS.get(named) if isinstance(named, str) else None
    if reason is None:
        raise ValueError(f"a choice ended for the reason {named!r}")
    text = _text(message, reason)
    tokens: tuple[Token, ...] = ()
    unread = False
    if sampling.top_logprobs:
        logprobs = item.get("logprobs")
        listed = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        try:
            tokens = spelled(text, listed)
        except NoSpelling:
            unread = True
    ends = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
    if ends:
        text, reason = text[: min(ends)], "stop"
        tokens = _cut(tokens, len(text))
    return _Choice(text, reason, tokens, unread)


def _text(message: Mapping[str, Any], reason: FinishReason) -> str:
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str):
        return content
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return refusal
    # Without a word a filter, or a limit that thinking has used up, is still an answer.
    if content is None and reason != "stop":
        return ""
    raise ValueError("a choice has no content")


def _cut(tokens: Sequence[Token], length: int) -> tuple[Token, ...]:
    kept = []
    begin = 0
    for token in tokens:
        if begin >= length:
            break
        kept.append(Token(token.text[: length - begin], token.logprob, token.top))
        begin += len(token.text)
    return tuple(kept)


def _usage(said: object) -> Usage | None:
    if not isinstance(said, Mapping):
        return None
    prompt, completion = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
    if prompt is None or completion is None:
        return None
    details = said.get("prompt_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, Mapping) else None
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(cached or 0, prompt),
    )


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _completions(choices: Sequence[_Choice], usage: Usage | None, most: int) -> list[Completion]:
    """The choices with their shares of the tokens.

    The prompt was computed for the first of them and was at hand for the others. What a
    choice has written is its tokens where they are listed, else its share by length.
    """
    total = usage or Usage()
    written = _shares(choices, total.completion_tokens, most)
    made = []
    for place, (choice, tokens) in enumerate(zip(choices, written, strict=True)):
        used = Usage(
            prompt_tokens=total.prompt_tokens,
            completion_tokens=tokens,
            cached_tokens=total.prompt_tokens if place else total.cached_tokens,
        )
        made.append(Completion(choice.text, choice.reason, used, choice.tokens))
    return made


def _shares(choices: Sequence[_Choice], total: int, most: int) -> list[int]:
    """`total` shared out, at most `most` for each where that is possible; the sum is kept."""
    listed = all(choice.tokens for choice in choices)
    weights = [1 + len(choice.tokens if listed else choice.text) for choice in choices]
    ends = [total * end // sum(weights) for end in accumulate(weights)]
    shares = [end - begin for begin, end in pairwise([0, *ends])]
    spare = sum(max(0, share - most) for share in shares)
    shares = [min(share, most) for share in shares]
    for place, share in enumerate(shares):
        more = min(spare, most - share)
        shares[place] += more
        spare -= more
    shares[0] += spare
    return shares
