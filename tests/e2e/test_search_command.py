"""`vilbench search` as a process: found, gone on with for nothing, reported and scored anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from transformers import AutoProcessor

from vilbench.backbone.tokens import PromptEncoder
from vilbench.collect.forest import noted_key
from vilbench.embedded import model_folder
from vilbench.prm.folder import load
from vilbench.search.tree import NodeRecord, TreeRecord
from vilbench.steps import FORMATS, question_parts
from vilbench.store import trees
from vilbench.store.run import Run

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def vilbench(*arguments: object, code: int = 0) -> str:
    command = [*VILBENCH, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, env=ALONE
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


class Searched(NamedTuple):
    """A search that was run, and what it said."""

    asked: tuple[object, ...]
    folder: Path
    said: str


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("search") / "run"
    size = ("--limit", 4, "--beams", 2, "--widths", 2)
    asked = ("search", "embedded-search", *size, "--out", folder)
    return Searched(asked, folder, vilbench(*asked, "--plain"))


def test_a_search_is_a_run_like_any_other(searched: Searched) -> None:
    asked, run, said = searched
    assert "trees: 4 of 4 problems" in said
    results = json.loads((run / "results.json").read_text())
    assert results["policy"] == "small, beam 2 x 2"
    assert (results["n_problems"], results["n_solutions"], results["main"]) == (4, 1, "prm")
    again = vilbench(*asked, "--plain")
    assert "search: 4 problems, 4 stored already" in again
    assert "collect:" not in said + again
    assert re.search("^evaluator: [1-9][0-9]* prefixes, [1-9][0-9]* tokens", said, re.M)
    assert "report" in vilbench("report", run, "--plain")
    assert json.loads((run / "results.json").read_text())["rows"] == results["rows"]
    other = vilbench(*asked[:-2], "--beams", 3, "--out", run, code=2)
    assert "--fresh" in other


def test_every_token_of_a_search_is_computed_once(searched: Searched) -> None:
    """By the policy its question and what it writes, by the reward model its question and steps."""
    policy = PromptEncoder(AutoProcessor.from_pretrained(model_folder("embedded:small")))
    judge = load(model_folder("embedded:vilprm")).encoder()
    with Run.read(searched.folder) as run:
        problems = {problem.id: problem for problem in run.problems()}
        grown = list(trees.trees(run, noted_key(run) or ""))
    assert len(grown) == 4
    for tree, spent in grown:
        problem = problems[tree.problem_id]
        asked = len(policy.encode(FORMATS["steps-brief"].ask(problem)).ids)
        read = spent.policy.prompt_tokens - spent.policy.cached_tokens
        # Where steps are joined a token may be another than the one that was written.
        assert asked <= read <= asked + len(tree.nodes)
        judged = [steps_of(tree, node) for node in tree.nodes if node.judged is not None]
        assert max(map(len, judged)) >= 3
        encoded = judge.encode_all(question_parts(problem), judged)
        steps = {one.ids[: k + 1] for one in encoded for k in range(len(one.ids))}
        computed = spent.evaluator.prompt_tokens - spent.evaluator.cached_tokens
        assert computed == len(encoded[0].prompt.ids) + len(steps)


def steps_of(tree: TreeRecord, node: NodeRecord) -> tuple[str, ...]:
    """The texts of the steps up to a node."""
    if node.parent is None:
        return ()
    return (*steps_of(tree, tree.nodes[node.parent]), node.step)


def test_what_it_would_cost_and_wrong_schedules() -> None:
    assert "no model is asked" in vilbench("search", "embedded-search", "--limit", 2, "--dry-run")
    assert "--beams" in vilbench("search", "embedded-search", "--beams", "4,x", code=2)
    assert "--out" in vilbench("search", "embedded-search", code=2)
