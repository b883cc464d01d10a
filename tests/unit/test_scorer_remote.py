"""A served scorer as any other: what it sends, its faults, its recipe."""

from __future__ import annotations

import pytest
from loopback import Handler, Loopback
from serve_data import TOKEN, TextScorer, running

from vilbench.config.building import build_scorers
from vilbench.config.scorers import RemoteScorerConfig
from vilbench.engines.openai.attempts import Patience
from vilbench.errors import CheckpointError, EngineError, RecipeError
from vilbench.scorers.remote import RemoteScorer, Served, look
from vilbench.serve.limits import Limits
from vilbench.testing import make_problem, make_solution, tiny_png
from vilbench.types import BytesSource, Image

PROBLEM = make_problem(
    images=(Image.of(BytesSource(tiny_png("teal", (64, 64)))),), choices=("4", "5"), answer="B"
)
SOLUTIONS = [make_solution(PROBLEM, k, f"Step {k}: a\nSo {k}") for k in range(40)]
QUICK = Patience(attempts=2, first_wait_s=0.01, connect_s=1.0)


async def test_values_are_those_of_the_scorer_that_is_served() -> None:
    scorer = TextScorer()
    expected = [one.values for one in await scorer.score(PROBLEM, SOLUTIONS)]
    with running(scorer, token=TOKEN) as server:
        url = f"{server.url}/v1"
        told = look(url, "text", TOKEN)
        assert told == Served("text", "step", "text/step", 0.0, 1.0)
        remote = RemoteScorer(url, told, api_key=TOKEN, name="mine")
        assert remote.fingerprint == "remote/text/step"
        records = await remote.score(PROBLEM, SOLUTIONS)
        await remote.aclose()
    assert [one.values for one in records] == expected
    assert {one.scorer for one in records} == {"mine"}
    assert records[3].usage.prompt_tokens == len(SOLUTIONS[3].text)


async def test_bad_solutions_carry_their_errors_and_all_bad_is_an_error() -> None:
    bad = make_solution(PROBLEM, 40, "poison")
    with running(TextScorer()) as server:
        url = f"{server.url}/v1"
        remote = RemoteScorer(url, look(url, None, None), patience=QUICK)
        sound, broken = await remote.score(PROBLEM, [SOLUTIONS[0], bad])
        assert sound.error is None and None not in sound.values
        assert broken.error is not None and broken.values == (None,)
        with pytest.raises(EngineError, match="422"):
            await remote.score(PROBLEM, [bad])
        await remote.aclose()


async def test_a_server_that_is_full_is_asked_again() -> None:
    scorer = TextScorer(seconds=0.05)
    with running(scorer, limits=Limits(waiting=1, batch_tokens=1)) as server:
        url = f"{server.url}/v1"
        remote = RemoteScorer(url, look(url, None, None), patience=Patience(attempts=30))
        records = await remote.score(PROBLEM, SOLUTIONS)
        await remote.aclose()
    assert len(records) == 40 and all(one.error is None for one in records)


async def test_a_server_with_another_scorer_is_refused() -> None:
    with running(TextScorer()) as server:
        url = f"{server.url}/v1"
        told = look(url, None, None)._replace(fingerprint="before")
        remote = RemoteScorer(url, told, patience=QUICK)
        with pytest.raises(EngineError, match="another scorer now"):
            await remote.score(PROBLEM, SOLUTIONS[:1])
        await remote.aclose()


def test_who_serves_nothing() -> None:
    with running(TextScorer(), token=TOKEN) as server:
        url = f"{server.url}/v1"
        with pytest.raises(CheckpointError, match="401"):
            look(url, None, "wrong", QUICK)
        with pytest.raises(CheckpointError, match="serves no scorer 'other', but text"):
            look(url, "other", TOKEN, QUICK)
    with pytest.raises(CheckpointError, match="no connection"):
        look(url, None, TOKEN, QUICK)


@pytest.mark.parametrize("said", [b"", b"<html>", b"{}", b'{"data":[{"id":3}]}', b"[" * 9999])
def test_servers_of_another_kind(said: bytes) -> None:
    class Other(Handler):
        def answer(self) -> None:
            self.give(said)

    with Loopback(Other) as server, pytest.raises(CheckpointError, match="cannot be used"):
        look(f"{server.url}/v1", None, None, QUICK)


def config(url: str, **more: object) -> RemoteScorerConfig:
    given = {"base_url": url, "model": "text", "api_key_env": "SERVED_TOKEN", **more}
    return RemoteScorerConfig.model_validate(given)


async def test_a_recipe_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(TextScorer(), token=TOKEN) as server:
        url = f"{server.url}/v1"
        with pytest.raises(RecipeError, match="SERVED_TOKEN"):
            build_scorers([config(url)], 4)
        monkeypatch.setenv("SERVED_TOKEN", TOKEN)
        built = build_scorers([config(url)], 4)
        (scorer,) = built.scorers
        assert (scorer.name, built.widths) == ("remote", (16,))
        assert len(await scorer.score(PROBLEM, SOLUTIONS[:2])) == 2
        for one in built.engines:
            await one.aclose()
        with pytest.raises(RecipeError, match="within"):
            build_scorers([config(url, value_range=[1, 5])], 4)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://", "http://u:p@host/v1", "http://host/v1?x=1", "host"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        config(url)
