"""Whom `vilbench serve` serves, and what it is asked for."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx2
import pytest
from typer.testing import CliRunner

from vilbench.cli.app import app
from vilbench.config.engine import LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.recipe import JudgeConfig, PrmScorerConfig
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


def test_a_process_serves_and_ends_at_a_signal() -> None:
    start = [sys.executable, "-c", "from vilbench.cli import main; main()"]
    command = [*start, "serve", "embedded:vilprm", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(line.split()[1] for line in lines if line.startswith("serving "))
        body = {"problem": {"question": "2 + 3?"}, "solutions": [{"text": "Step 1: It is 5."}]}
        reply = httpx2.post(f"{url}/score", json=body, timeout=60)
        assert reply.status_code == 200
        (value,) = reply.json()["results"][0]["values"]
        assert isinstance(value, float)
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=60)
        assert "Traceback" not in complaints
    finally:
        process.kill()
        process.wait(10)
