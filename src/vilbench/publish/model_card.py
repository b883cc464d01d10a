"""The model card of a reward model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import JsonValue

from vilbench.publish import loading
from vilbench.publish.evaluation import Figure, model_index
from vilbench.publish.hub import Target
from vilbench.publish.markdown import fenced, header, plain, table

if TYPE_CHECKING:
    from vilbench.prm.folder import PrmConfig

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Training:
    """How a reward model was trained, free of secrets and of places of the user's.

    Attributes:
        fingerprint: Over all that changes the outcome.
        recipe: The whole of it.
        data: SHA-256 of each file, by its name.
        rows: Rows learnt from.
        dev_rows: Rows selected by.
        rejected: How many rows were set aside.
        versions: Of the packages.
    """

    fingerprint: str
    recipe: Mapping[str, JsonValue]
    data: Mapping[str, str]
    rows: int
    dev_rows: int
    rejected: int
    versions: Mapping[str, str]


def card(
    config: PrmConfig,
    figures: Sequence[Figure] = (),
    *,
    title: str,
    license: str | None = None,  # noqa: A002 - the card's word
    training: Training | None = None,
    target: Target | None = None,
) -> str:
    """The card as Markdown with its YAML header.

    Args:
        config: Of the reward model.
        figures: Its evaluation; the card says so where there is none.
        title: Heading.
        license: Identifier of a license, such as "apache-2.0"; that of the backbone counts, too.
        training: How it was trained, where that is known.
        target: Where on the hub it will be; None for a folder.
    """
    named = _HUB_NAME.fullmatch(config.backbone.name)
    told: dict[str, Any] = {
        "library_name": "vilbench",
        "pipeline_tag": "image-text-to-text",
        "tags": ["process-reward-model", "reward-model", config.backbone.model_type],
        "base_model": config.backbone.name if named else None,
        "license": license,
        "model-index": model_index(title, figures) if figures else None,
    }
    lines = [
        *header(told),
        f"# {plain(title)}",
        "",
        "A process reward model for visual reasoning: a vision-language backbone with one linear "
        "head that gives a value after every step of a solution.",
        "",
        *table(("", ""), _rows(config)),
        "## Evaluation",
        "",
        *_evaluation(figures),
        "## Training",
        "",
        *_training(training),
        "## Use",
        "",
        *(line for one in loading.download(target, "model") for line in fenced("bash", one)),
        *fenced("python", _USE),
        f"In a recipe of vilbench: `- {{kind: prm, model: {loading.FOLDER}}}`.",
        "",
        "## Input and layout",
        "",
        *_layout(config),
        "",
    ]
    return "\n".join(lines)


_USE = f"""\
import vilbench

prm = vilbench.load_prm("{loading.FOLDER}")
problem = vilbench.problem("How many circles are there?", images=["picture.png"])
for scored in prm.score(problem, ["I see 2.\\nAnswer: 2", "Answer: 3"]):
    print(scored.values, scored.text)"""


def _rows(config: PrmConfig) -> Iterator[tuple[str, str]]:
    low, high = config.value_range
    yield "backbone", f"{config.backbone.name} ({config.backbone.model_type})"
    yield "fingerprint of the backbone", config.backbone.fingerprint
    yield "training", config.training or "none: the head is random"
    bias = "with a bias" if config.bias else "without a bias"
    after = ", then a sigmoid" if config.activation == "sigmoid" else ""
    yield "head", f"linear, {config.backbone.hidden_size} to 1, {bias}{after}"
    yield "labels", f"{low:g} to {high:g}"
    yield "question", f"format {config.format} ({config.format_fingerprint})"
    yield "step end", config.step_token or "the tokenizer's end token"
    limit = "the backbone's context" if config.max_tokens is None else f"{config.max_tokens} tokens"
    rule = "an error" if config.overflow == "error" else "the first steps are left out"
    yield "longest input", f"{limit}; beyond it: {rule}"


def _evaluation(figures: Sequence[Figure]) -> Iterator[str]:
    if not figures:
        yield "None was given with this model."
        yield ""
        return
    rows = (
        (one.name, f"{one.value:.3f}", span(one.low, one.high), one.dataset.name, one.detail)
        for one in figures
    )
    yield from table(("", "", "95 % interval", "on", ""), rows, numbers=(1,))
    commands = list(dict.fromkeys(one.command for one in figures if one.command))
    if commands:
        yield "Commands that give these figures again:"
        yield ""
        yield from fenced("bash", "\n".join(commands))


def span(low: float | None, high: float | None) -> str:
    """An interval in words, "" without one."""
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _training(training: Training | None) -> Iterator[str]:
    if training is None:
        yield "Nothing is known of it beside its fingerprint."
        yield ""
        return
    versions = ", ".join(f"{name} {version}" for name, version in training.versions.items())
    rows = [
        ("rows learnt from", f"{training.rows:,}"),
        ("rows selected by", f"{training.dev_rows:,}"),
        ("rows set aside", f"{training.rejected:,}"),
        *((f"data: {name}", f"sha256 {digest}") for name, digest in training.data.items()),
        ("fingerprint", training.fingerprint),
        ("versions", versions),
    ]
    yield from table(("", ""), rows)
    yield "The recipe:"
    yield ""
    yield from fenced("yaml", recipe_text(training.recipe))


def recipe_text(recipe: Mapping[str, JsonValue]) -> str:
    """A recipe as YAML."""
    return yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100)


def _layout(config: PrmConfig) -> Iterator[str]:
    end = "the control token of the table above" if config.step_token else "the end token"
    yield (
        "The question stands in the chat template of the backbone, the steps behind it as the "
        f"reply: of each step its text and a line break, then {end}. Texts are encoded without "
        "control tokens. The value of a step is read at its end token, so a solution that is "
        "cut after a step has the same value there."
    )
    yield ""
    yield (
        "The folder holds the backbone's own tensors and `score.weight`, one row. A server that "
        "turns a generative model into a classifier by a layer `score` can serve it: score a "
        "prefix at its last token, without an activation. `prm.json` tells the rest."
    )
