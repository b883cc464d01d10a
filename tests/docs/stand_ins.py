"""What stands in for what, where pages are run: all that differs from what a reader types.

Everything else runs as it is written. A row that nothing uses any more fails a test, and so
does a command that is neither run nor named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

SMALLER: Final[Mapping[str, Mapping[str, str]]] = {
    "demo": {"--limit": "2", "-n": "6"},
    "run": {"--limit": "2", "-n": "6"},
    "run paper/judges": {"--limit": "1", "-n": "2"},
    "sample": {"--limit": "2", "-n": "4"},
    "sample paper/judges": {"--limit": "1", "-n": "2"},
    "collect": {"--limit": "2"},
    "search": {"--limit": "1"},
    "train": {"--limit": "16"},
    "diagnose": {"--limit": "1", "--candidates": "2", "--attacked": "1"},
    "problems show": {"--limit": "2"},
}
"""By what a command begins with, the longest that fits: options that are so large at most, and
are added where they are not given. What is written as no plain number, such as `10%`, stays."""

ADDED: Final[Mapping[str, tuple[str, ...]]] = {
    "problems prepare": ("--path", "{copies}"),
    "export runs/demo --to-hub": ("--dry-run",),
    "curate": ("--threshold", "none"),
    "serve": ("--port", "0"),
    "view": ("--port", "0"),
}
"""Options that a command gets: small copies with the benchmarks' columns in place of the hub,
no upload, any free port, and problems that need not prefer steps, for of two hardly one does."""

MODELS: Final[Mapping[str, str]] = {
    "/models/Qwen2.5-VL-3B-Instruct": "embedded:small",
    "/models/Qwen2.5-VL-7B-Instruct": "embedded:base",
}
"""In the text of blocks."""

SIZES: Final[Mapping[str, str]] = {
    "max_tokens: 1024": "max_tokens: 64",
    "prompt: rubric": "prompt: brief",
}
"""In the text of blocks: the small models do not come to an end by themselves, and were taught
to judge by the brief prompt alone."""

ADDRESSES: Final[Mapping[str, str]] = {
    "http://localhost:8000/v1": "{chat}",
    "http://127.0.0.1:8000/v1": "{chat}",
    "http://localhost:8001/v1": "{chat}",
    "http://127.0.0.1:8800": "{served}",
}
"""In the text of blocks: a scripted server of chat completions, and the server that the page
itself has started by `vilbench serve`."""

RECIPES: Final[Mapping[str, Mapping[str, str]]] = {
    "paper/judges.yaml": {
        "model: gpt-4o-2024-11-20,": 'model: gpt-4o-2024-11-20, base_url: "{chat}", server: openai,'
        " api_key_env: OPENAI_API_KEY,",
        "http://localhost:8001/v1": "{chat}",
        "http://localhost:8002/v1": "{chat}",
        "http://localhost:8003/v1": "{chat}",
        "http://localhost:8004/v1": "{chat}",
    },
    "paper/reward-model.yaml": {
        "model: gpt-4o-2024-11-20,": 'model: gpt-4o-2024-11-20, base_url: "{chat}", server: openai,'
        " api_key_env: OPENAI_API_KEY,",
        "model: Qwen2.5-VL-3B-Instruct": 'model: "embedded:base"',
    },
    "training/vilprm.yaml": {"model: Qwen2.5-VL-3B-Instruct": 'model: "embedded:base"'},
    "loop/embedded-loop.yaml": {
        "problems.limit: 3360": "problems.limit: 4",
        "problems.limit: 270": "problems.limit: 2, sample.n: 4",
        "problems.limit: 540": "problems.limit: 2, sample.n: 4",
    },
}
"""In the text of shipped recipes: hosted models and servers, backbones of the hub, sizes."""


class Made(NamedTuple):
    """A file that commands of the pages read, and the block that shows it.

    Attributes:
        page: Whose block it is.
        holds: Text that only this block of the page holds.
    """

    page: str
    holds: str


FILES: Final[Mapping[str, Made]] = {
    "my-recipe.yaml": Made("docs/measure.md", "name: qwen-judges-itself"),
    "vilprm.yaml": Made("docs/train.md", "name: my-vilprm"),
    "my-training.yaml": Made("docs/train.md", "name: my-vilprm"),
    "wide.yaml": Made("docs/curate.md", "name: wide"),
    "both.yaml": Made("docs/diagnostics.md", "name: small-orm"),
    "my.jsonl": Made("docs/own-data.md", '{"id": "q1"'),
    "my-problems.jsonl": Made("docs/own-data.md", '{"id": "q1"'),
    "my.csv": Made("docs/own-data.md", "id,question,images"),
}

ON_A_CLUSTER: Final = ("--executor", "--address", "--workers", "--per-worker")
"""Options that are read and left out: the command runs here, without workers. Tests of their own
begin clusters (`tests/e2e/test_ray.py`)."""

DRAWN: Final = ("docs/report.md",)
"""Pages whose reports are drawn; the others' hold no figures, which take longer than a run."""

CHECKED: Final[Mapping[str, str]] = {
    "make": "sets up an environment, or runs for minutes: `make -n` says what it would do",
    "pip": "asks the hub for packages: the extras are looked up",
    "vllm": "needs a GPU and is no dependency: models and ports are those of `paper/judges`",
    "accelerate": "needs several GPUs: its own parser reads it, the command behind it runs",
    "ray": "needs several machines: its own parser reads it, `tests/e2e/test_ray.py` has two",
    "pytest": "the suite runs these files itself: they are there",
    "python benchmarks": "measures for minutes or hours: its own parser reads the options",
}
"""Programs that are checked as far as they can be, and why they do not run."""

OWN_TESTS: Final[Mapping[str, str]] = {"docs/api.md": "tests/unit/test_api_docs.py"}
"""Pages whose Python blocks run in a test of their own, and that test."""
