"""What a forecast of a run assumes; nothing of it changes a solution or a score."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from vilbench.types import Number, Record, Whole


class SpeedConfig(Record):
    """How quickly a model answers.

    Attributes:
        wait_s: Seconds until the first token of an answer.
        stream_tokens_per_s: Tokens of one answer, where it is alone or among few.
        prompt_tokens_per_s: Tokens read, over all requests; None knows no bound, as of a
            hosted model.
        completion_tokens_per_s: Tokens written, over all requests; None likewise.
    """

    wait_s: Number = Field(default=1.0, ge=0)
    stream_tokens_per_s: Number | None = Field(default=60.0, gt=0)
    prompt_tokens_per_s: Number | None = Field(default=None, gt=0)
    completion_tokens_per_s: Number | None = Field(default=None, gt=0)


class ExpectConfig(Record):
    """What `--dry-run` assumes where nothing is known.

    Attributes:
        solution_tokens: Of a solution; None is 300, and 10 where the answer alone is asked for.
        steps: Of a solution.
        reply_tokens: Of a judge's reply.
        right: Share of solutions that are right, which decides when a search stops.
        speeds: By the name of a model. Without one a hosted model is taken to begin after a
            second and to write 60 tokens a second, a server of one's own to read 10,000 and to
            write 2,000 a second in all, and a model on this machine to read 5,000 and to
            write 1,000.
    """

    solution_tokens: Whole | None = Field(default=None, ge=1)
    steps: Whole = Field(default=6, ge=1)
    reply_tokens: Whole = Field(default=80, ge=9)
    right: Number = Field(default=0.5, ge=0, le=1)
    speeds: Mapping[str, SpeedConfig] = Field(default_factory=dict)


HOSTED = SpeedConfig()
OWN_SERVER = SpeedConfig(
    wait_s=0.2,
    stream_tokens_per_s=40.0,
    prompt_tokens_per_s=10_000.0,
    completion_tokens_per_s=2_000.0,
)
HERE = SpeedConfig(
    wait_s=0.0,
    stream_tokens_per_s=None,
    prompt_tokens_per_s=5_000.0,
    completion_tokens_per_s=1_000.0,
)
"""Where a recipe names no speed of a model."""
