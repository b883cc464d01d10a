"""The card of a collection as a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from vilbench.collect.data import BINS, DataConfig, Summary
from vilbench.collect.tables import HUB_TABLE
from vilbench.store.records import Spent

NAME = "README.md"

_MEANINGS = {
    "rest": (
        "ReST-MCTS*: how far a solution has come; the k-th of K right steps is worth k/K, a wrong "
        "step takes the value down"
    ),
    "rollouts": "the share of right answers among continuations of the prefix",
    "omega": (
        "OmegaPRM: the share of right answers among continuations of the prefix, 0 behind a "
        "prefix from which nothing came right"
    ),
    "omega-filled": (
        "OmegaPRM: the share of right answers among continuations of the prefix; steps that the "
        "search jumped over take the best value behind them"
    ),
    "judge": "the evaluator's own value of the prefix",
}


@dataclass(frozen=True)
class Origin:
    """Where a collection comes from.

    Attributes:
        name: Of the run.
        problem_set: Which problems.
        seed: Of the run.
        fingerprint: Of the run.
        rule: The search.
        policy: Name of the model that wrote the steps.
        evaluator: Name of the model that valued them, "" for none.
        command: What made the run, and what exported it.
        version: Of vilbench.
        spent: What the search cost.
    """

    name: str
    problem_set: str
    seed: int
    fingerprint: str
    rule: str
    policy: str
    evaluator: str
    command: str
    version: str
    spent: Spent


def card(
    summary: Summary,
    config: DataConfig,
    origin: Origin,
    *,
    title: str,
    license: str | None = None,  # noqa: A002 - the card's word
) -> str:
    """The card as Markdown with its YAML header.

    Args:
        summary: What became of the trees.
        config: How they became data.
        origin: Where they come from.
        title: Heading.
        license: Identifier of a license, such as "apache-2.0"; that of the problems counts, too.
    """
    header: dict[str, object] = {
        "pretty_name": title,
        "tags": ["process-reward-model", "step-rewards", "tree-search", "vilbench"],
        "task_categories": ["image-text-to-text"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": HUB_TABLE}]}
        ],
    }
    if license is not None:
        header["license"] = license
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_plain(title)}",
        "",
        "Solutions of visual problems in steps, with a value for each step that tree search found.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_plain(value)} |" for name, value in _facts(summary, origin)),
        "",
        "## Values",
        "",
        *(f"- `{name}`: {_MEANINGS.get(name, name)}." for name in summary.values),
        "",
        "| from | to | steps |",
        "|--:|--:|--:|",
        *(
            f"| {place / BINS:.1f} | {(place + 1) / BINS:.1f} | {count:,} |"
            for place, count in enumerate(summary.histogram)
        ),
        "",
        "## What was left out",
        "",
        *_losses(summary),
        "",
        "## Rows",
        "",
        *_layout(config),
        "",
        "## Made with",
        "",
        "```bash",
        origin.command.replace("```", ""),
        "```",
        "",
    ]
    return "\n".join(lines)


def _facts(summary: Summary, origin: Origin) -> Iterator[tuple[str, str]]:
    spent = origin.spent
    yield "problems", f"{origin.problem_set}; {summary.problems:,} of {summary.trees:,} are here"
    yield "search", f"{origin.rule}, seed {origin.seed}"
    yield "policy", origin.policy
    yield "evaluator", origin.evaluator or "the grade of finished answers alone"
    yield "solutions", f"{summary.rows:,}"
    yield "steps", f"{summary.steps:,}, {summary.row_labels:,} with a value"
    yield (
        "paid",
        (
            f"{spent.policy.completion_tokens:,} tokens of the policy in {spent.continuations:,} "
            f"continuations, {spent.evaluator_calls:,} prefixes valued by the evaluator"
        ),
    )
    yield "run", f"{origin.name}, fingerprint {origin.fingerprint}, vilbench {origin.version}"


def _losses(summary: Summary) -> Iterator[str]:
    yield f"{summary.labels:,} of {summary.nodes:,} searched steps had a value."
    if not summary.filters and not summary.set_aside:
        yield ""
        yield "Nothing was left out."
        return
    yield ""
    yield "| filter | problems | labels |"
    yield "|---|--:|--:|"
    for one in summary.filters:
        yield f"| {one.name} | {one.trees:,} | {one.labels:,} |"
    for reason, count in summary.set_aside.items():
        yield f"| not written: {_plain(reason)} | | {count:,} |"


def _layout(config: DataConfig) -> Iterator[str]:
    yield (
        "A row is a solution; rows of one problem have the same `group` and stand together. "
        "`values` has a number in [0, 1] or null for each of `steps`. "
        + (
            "A step that several rows share has its value in the first of them."
            if config.rows.labels == "once"
            else "A step that several rows share has its value in each of them."
        )
    )
    if config.rows.spread is not None:
        yield (
            "`marks` has, for each step, `[start, end, value]`: characters of the step's text at "
            "which the value holds, too."
        )
    yield ""
    yield "Read it with `datasets` from version 4 on, or by `vilbench train`."


def _plain(text: str) -> str:
    """One line that cannot leave its cell of a table or become markup."""
    flat = " ".join(text.split())
    return re.sub(r"([|<>\[\]`\\])", r"\\\1", flat)
