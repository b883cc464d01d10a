"""A judge behind a server: its expected score is read from the server's log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import fault_server as server
import pytest
from fault_server import FaultServer, Request

from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.scorers.judge import PROMPTS, JudgeScorer
from vilbench.testing import make_problem, make_solution

SAID = "Reasoning: 3 of 5 seen\nOverall Score: 4"


def judged(request: Request, chances: dict[str, float]) -> server.Act:
    answer = server.completion(request, [SAID])
    listed: list[dict[str, Any]] = answer["choices"][0]["logprobs"]["content"]
    listed[-1]["top_logprobs"] = [
        {"token": token, "logprob": math.log(chance), "bytes": list(token.encode())}
        for token, chance in chances.items()
    ]
    # vLLM lists the token that ended the reply too.
    listed.append({"token": "<|im_end|>", "logprob": -0.01, "bytes": None, "top_logprobs": []})
    return server.as_json(answer)


async def test_the_expected_score_is_the_servers() -> None:
    def act(request: Request) -> server.Act:
        return judged(request, {" 4": 0.5, " 5": 0.3, "3": 0.1, "x": 0.1})

    problem = make_problem()
    solutions = [make_solution(problem, k, f"I add {k}.\nIt is 5.", answer="5") for k in (0, 1)]
    async with (
        FaultServer(otherwise=act) as there,
        OpenAIEngine("judge", "vllm", base_url=there.url) as engine,
    ):
        scorer = JudgeScorer(engine, "step", PROMPTS["rubric"])
        records = await scorer.score(problem, solutions)
    expected = (4 * 0.5 + 5 * 0.3 + 3 * 0.1) / 0.9
    assert [len(record.values) for record in records] == [2, 2]
    for record in records:
        assert record.error is None
        assert record.values == pytest.approx([expected] * 2)
        assert record.notes == ("Reasoning: 3 of 5 seen",) * 2
    assert {r.body["temperature"] for r in there.requests} == {0.0}
    assert sum(r.usage.completion_tokens for r in records) == 4 * len(server.tokens_of(SAID))


async def test_without_log_probabilities_there_is_no_verdict() -> None:
    def act(request: Request) -> server.Act:
        answer = server.completion(request, [SAID])
        answer["choices"][0]["logprobs"] = None
        return server.as_json(answer)

    problem = make_problem()
    async with (
        FaultServer(otherwise=act) as there,
        OpenAIEngine("judge", "other", base_url=there.url) as engine,
    ):
        for expectation, value in ((True, None), (False, 4.0)):
            scorer = JudgeScorer(engine, "solution", PROMPTS["rubric"], expectation=expectation)
            [record] = await scorer.score(problem, [make_solution(problem)])
            assert record.values == (value,)
            assert ("no log-probabilities" in record.notes[0]) is expectation
