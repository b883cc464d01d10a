"""Whom `vilbench serve` serves, and what it is asked for."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from serve_data import waited
from serve_images import ImageServer
from serve_process import ServeProcess
from serve_upstream import ChatProcess
from typer.testing import CliRunner

from vilbench.cli.app import app
from vilbench.config.engine import LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.scorers import JudgeConfig, PrmScorerConfig
from vilbench.config.serving import serving
from vilbench.errors import RecipeError


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("embedded:vilprm", "--host", "0.0.0.0"), "reached from elsewhere"),  # noqa: S104
        (("embedded:vilprm", "--token", "short"), "16 characters"),
        (("embedded:base",), "no reward model's folder"),
        (("no-such-folder",), "no such folder"),
        (("embedded:vilprm", "--scorer", "prm"), "of a recipe"),
        (("embedded:vilprm", "--format", "haiku"), "none of"),
        (("embedded:vilprm", "--upstream", "recipe"), "no recipe"),
        (("embedded:vilprm", "--upstream", "http://127.0.0.1:1/v1"), "name the model"),
        (("embedded", "--scorer", "nobody"), "has no scorer"),
    ],
)
def test_refusals(arguments: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_model_brings_its_format_and_bounds() -> None:
    asked = serving("embedded:vilprm", upstream="embedded:base")
    assert isinstance(asked.scorer, PrmScorerConfig)
    assert (asked.format.name, asked.scorer.value_range) == ("steps-brief", (0.0, 1.0))
    assert asked.upstream == LocalEngineConfig(model="embedded:base")


def test_a_recipe_serves_any_of_its_scorers() -> None:
    asked = serving("embedded", scorer="judge-orm", upstream="recipe")
    assert isinstance(asked.scorer, JudgeConfig)
    assert asked.upstream is not None


def test_an_upstream_by_its_address() -> None:
    asked = serving(
        "embedded:vilprm", upstream="https://host/v1", upstream_model="m", upstream_key="KEY"
    )
    assert isinstance(asked.upstream, OpenAIEngineConfig)
    assert (asked.upstream.model, asked.upstream.api_key_env) == ("m", "KEY")
    with pytest.raises(RecipeError, match="base_url"):
        serving("embedded:vilprm", upstream="http://u:p@host/v1", upstream_model="m")
    with pytest.raises(RecipeError):
        serving("no-such.yaml")


SCORED = {"problem": {"question": "2 + 3?"}, "solutions": [{"text": "Step 1: It is 5."}]}


def ask(url: str, question: str) -> httpx2.Response:
    user = {"role": "user", "content": question}
    body = {"model": "best-of-n", "messages": [user], "vilbench": {"n": 2}}
    return httpx2.post(f"{url}/chat/completions", json=body, timeout=60)


def stopping(url: str) -> bool:
    return bool(httpx2.get(f"{url.removesuffix('/v1')}/health").json() == {"status": "stopping"})


def test_a_second_signal_gives_up_what_is_under_way() -> None:
    with ChatProcess() as upstream, ThreadPoolExecutor(2) as pool:
        arguments = ("--upstream", upstream.url, "--upstream-model", "solver")
        with ServeProcess("embedded:vilprm", *arguments) as process:
            lost = [pool.submit(ask, process.url, f"wait {k}") for k in range(2)]
            upstream.has_been_asked(2)
            process.signal(signal.SIGINT)
            waited(lambda: stopping(process.url))
            assert not any(one.done() for one in lost)
            begun = time.monotonic()
            process.signal(signal.SIGINT)
            status, complaints = process.ended()
            assert time.monotonic() - begun < 20  # of a grace of 30
            for one in lost:
                reply = one.result()
                assert (reply.status_code, reply.json()["error"]["code"]) == (503, "stopping")
        assert (status, complaints) == (0, "")


def test_a_process_goes_on_without_its_upstream_and_ends_when_all_is_answered() -> None:
    with ChatProcess() as upstream, ImageServer() as images, ThreadPoolExecutor(4) as pool:
        listed = f"127.0.0.1:{images.port}"
        engine = ("--upstream", upstream.url, "--upstream-model", "solver")
        arguments = (*engine, "--allow-image-host", listed)
        with ServeProcess("embedded:vilprm", *arguments) as process:
            lost = [pool.submit(ask, process.url, f"wait {k}") for k in range(4)]
            upstream.has_been_asked(4)
            upstream.kill()
            for one in lost:
                error = one.result().json()["error"]
                assert (one.result().status_code, error["code"]) == (502, "upstream_failed")
            shown = {"question": "How many?", "images": [f"http://{listed}/sound"]}
            reply = httpx2.post(f"{process.url}/score", json={**SCORED, "problem": shown})
            assert reply.status_code == 200
            (value,) = reply.json()["results"][0]["values"]
            assert isinstance(value, float)

            with ChatProcess(upstream.port) as again:
                assert ask(process.url, "How many?").status_code == 200
                again.has_been_asked()
                under_way = [pool.submit(ask, process.url, f"wait {k}") for k in range(3)]
                again.has_been_asked(3)
                process.signal(signal.SIGTERM)
                # From now on nothing new is taken, and whoever looks is told so.
                waited(lambda: stopping(process.url))
                refused = httpx2.post(f"{process.url}/score", json=SCORED)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
                assert not any(one.done() for one in under_way)
                again.go()
                assert [one.result().status_code for one in under_way] == [200] * 3
            assert process.ended() == (0, "")
