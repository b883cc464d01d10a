"""`vilbench run` as a process against a server: a whole run, Ctrl-C once and twice, no key."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path

import fault_server as server
import pytest
from fault_server import FaultServer, Request, Script

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]
KEY = "sk-a-secret-key-of-a-test"

RECIPE = """\
name: served
problems: {{source: puzzles, split: dev, limit: {limit}}}
sample:
  engine: {{kind: openai, model: solver, server: vllm, base_url: "{url}", api_key_env: A_KEY,
    patience: {{first_wait_s: 0.01}}, concurrency: 8}}
  format: steps-brief
  n: 4
  max_tokens: 64
scorers:
  - kind: judge
    name: judge-orm
    granularity: solution
    engine: {{kind: openai, model: judge, server: vllm, base_url: "{url}",
      price: {{prompt: 1, completion: 2}}}}
concurrency: 4
"""


def play(request: Request) -> server.Act:
    """Solves, and judges with log-probabilities."""
    if request.body["model"] == "solver":
        said = [f"Step 1: I read 2.\nStep 2: I add {k}.\nAnswer: {k}" for k in range(request.n)]
    else:
        said = ["Reasoning: fine\nOverall Score: 4"] * request.n
    return server.as_json(server.completion(request, said))


async def start(
    recipe: Path, out: Path, key: str = KEY, command: str = "run"
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *VILBENCH,
        *(command, str(recipe), "--out", str(out), "--plain"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "A_KEY": key},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


async def end(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    return said.decode()


def write(folder: Path, url: str, limit: int = 6) -> Path:
    path = folder / "served.yaml"
    path.write_text(RECIPE.format(url=url, limit=limit))
    return path


def count(out: Path, table: str) -> int:
    if not (out / "run.sqlite").exists():
        return 0
    with sqlite3.connect(out / "run.sqlite") as store:
        return int(store.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


async def test_a_run_over_servers_that_stumble(tmp_path: Path) -> None:
    acts: list[Script] = [server.refuse(503), server.reset(), server.page()]
    async with FaultServer(acts, play) as there:
        recipe, out = write(tmp_path, there.url), tmp_path / "run"
        process = await start(recipe, out)
        said = await end(process)
        assert process.returncode == 0, said
        solved = [r for r in there.requests if r.body["model"] == "solver"]
        judged = [r for r in there.requests if r.body["model"] == "judge"]
    assert len(solved) == 6 + 3
    assert len(judged) == 6 * 4
    assert "3 asked again" in said
    assert "USD" in said
    assert {r.headers["authorization"] for r in solved} == {f"Bearer {KEY}"}
    assert not any(KEY in str(r.headers) for r in judged)  # it names no key
    assert all(r.body["logprobs"] and r.body["top_logprobs"] == 20 for r in judged)
    # The expected score of "4" at 0.6 beside three alternatives that are no scores.
    with sqlite3.connect(out / "run.sqlite") as store:
        texts = [str(row) for row in store.execute("SELECT * FROM scores")]
    assert len(texts) == 24
    assert all("4.0" in text for text in texts)
    stored = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert KEY.encode() not in stored
    assert KEY not in said


async def test_without_its_key_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultServer(otherwise=play) as there:
        recipe = write(tmp_path, there.url)
        process = await start(recipe, tmp_path / "run", key=" ")
        said = await end(process)
    assert process.returncode == 2, said
    assert "A_KEY" in said
    assert there.requests == []
    assert not (tmp_path / "run").exists()


async def test_sampling_needs_no_key_of_a_judge(tmp_path: Path) -> None:
    async with FaultServer(otherwise=play) as there:
        recipe, out = write(tmp_path, there.url, limit=2), tmp_path / "run"
        recipe.write_text(
            recipe.read_text().replace("model: judge,", "model: judge, api_key_env: NONE_SUCH,")
        )
        process = await start(recipe, out, command="sample")
        said = await end(process)
        assert process.returncode == 0, said
        process = await start(recipe, tmp_path / "another")
        said = await end(process)
    assert process.returncode == 2, said
    assert "NONE_SUCH" in said
    assert not (tmp_path / "another").exists()
    assert len(there.requests) == 2


@pytest.mark.parametrize("times", [1, 2])
async def test_ctrl_c(times: int, tmp_path: Path) -> None:
    answer = asyncio.Event()

    class Held(FaultServer):
        """Holds every answer back until it is told to give them."""

        async def act(self, request: Request) -> server.Act:
            await answer.wait()
            return play(request)

    async with Held() as there:
        recipe, out = write(tmp_path, there.url, limit=40), tmp_path / "run"
        process = await start(recipe, out)
        while len(there.requests) < 4:
            assert process.returncode is None
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(1.0)
        if times == 2:
            process.send_signal(signal.SIGINT)
        else:
            answer.set()
        said = await end(process)
        assert process.returncode == 130, said
        assert len(there.requests) == 4  # nothing was asked for any more
        assert "Traceback" not in said
        assert "goes on from there" in said
        # Once: what was paid is stored. Twice: at once.
        assert count(out, "solutions") == (16 if times == 1 else 0)
        answer.set()
        process = await start(write(tmp_path, there.url, limit=40), out)
        said = await end(process)
        assert process.returncode == 0, said
        solved = [json.dumps(r.body) for r in there.requests if r.body["model"] == "solver"]
        assert len(set(solved)) == 40
        assert len(solved) == 40 if times == 1 else 44
