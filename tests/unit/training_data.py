"""Training rows and what is made of them, small, for the tests of training."""

from __future__ import annotations

import atexit
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import engine_data as data
import pytest

from vilbench.backbone.model import Backbone
from vilbench.prm.folder import LoadedPrm, untrained
from vilbench.steps import FORMATS
from vilbench.training.batch import Collator
from vilbench.training.embedded import architecture
from vilbench.training.embedded.architecture import Shape
from vilbench.training.encoding import Encoding, Siblings
from vilbench.training.learner import Learner
from vilbench.training.loss import Objective
from vilbench.training.recipe import LossConfig
from vilbench.training.rows import Mark, Place, TrainingRow, ValueRange

SPAN = ValueRange(0.0, 1.0)
BRIEF = FORMATS["steps-brief"]
EVERYTHING = LossConfig(
    dense=0.7, surprise=0.7, rank=0.3, language=0.2, language_on="correct-prefix"
)
WORDS = tuple(
    "count the red circles left of three bars angle sum is 40 12 7 above below".split()  # noqa: SIM905
)


@cache
def checkpoint() -> Path:
    """A random model that is far smaller than that of `engine_data`."""
    folder = Path(tempfile.mkdtemp(prefix="vilbench-training-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(architecture.SHAPES, "small", Shape(32, 2, 2, 1, 48, 32, 2, 2, 48, (4, 2, 2)))
        model = architecture.make_model(data.tokenizer(), "small", seed=1)
    model.save_pretrained(folder)
    data.processor().save_pretrained(folder)
    return folder


def fresh(**options: Any) -> LoadedPrm:
    """An untrained reward model of its own, in float32 on the CPU."""
    folder = options.pop("folder", None) or data.checkpoint()
    return untrained(folder, 3, format=BRIEF, device="cpu", dtype="float32", **options)


def rows(groups: int = 3, siblings: int = 4, seed: int = 0) -> tuple[TrainingRow, ...]:
    """Solutions of uneven lengths; some steps without label, some questions without image."""
    rng = random.Random(seed)
    made: list[TrainingRow] = []
    for group in range(groups):
        image = () if group % 3 == 2 else (data.picture(group, 64, 64 + 32 * (group % 2)),)
        parts = (*image, f"What is {' '.join(rng.choices(WORDS, k=rng.randint(2, 9)))}?")
        for number in range(siblings):
            steps: list[str] = []
            values: list[float | None] = []
            marks: list[tuple[Mark, ...]] = []
            right = True
            for _ in range(rng.randint(1, 5)):
                step = " ".join(rng.choices(WORDS, k=rng.randint(1, 8)))
                fails = right and rng.random() < 0.3
                middle = max(1, len(step) // 2)
                marks.append(
                    (Mark(0, middle, float(right)), Mark(middle, len(step), float(not fails)))
                    if right and len(step) > 1
                    else ()
                )
                right = right and not fails
                steps.append(step)
                values.append(None if rng.random() < 0.2 else float(right))
            if values[-1] is None:
                values[-1] = float(right)
            made.append(
                TrainingRow(
                    id=f"{group}-{number}",
                    place=Place("rows", len(made) + 1),
                    group=str(group),
                    parts=parts,
                    steps=tuple(steps),
                    values=tuple(values),
                    marks=tuple(marks),
                )
            )
    return tuple(made)


def encoding(prm: LoadedPrm, loss: LossConfig = EVERYTHING, most: int = 16) -> Encoding:
    steps = prm.encoder()
    return Encoding(steps.encoder, steps, Backbone(prm.model.backbone), loss, SPAN, most)


def collator(prm: LoadedPrm, *, together: bool = True) -> Collator:
    config = prm.model.backbone.config
    return Collator(prm.encoder().encoder, config.image_token_id, 0, together=together)


def learner(prm: LoadedPrm, loss: LossConfig = EVERYTHING) -> Learner:
    return Learner(prm.model, Objective(loss, SPAN))


def encoded(
    prm: LoadedPrm, given: Sequence[TrainingRow], loss: LossConfig = EVERYTHING
) -> tuple[Siblings, ...]:
    return encoding(prm, loss).encode(given)


def write_rows(folder: Path, given: Sequence[TrainingRow], name: str = "rows.jsonl") -> Path:
    """The rows as a file with its images."""
    lines = []
    for row in given:
        images = []
        for image in row.images:
            path = folder / f"{image.digest[:12]}.png"
            path.write_bytes(image.read())
            images.append(path.name)
        (question,) = (part for part in row.parts if isinstance(part, str))
        lines.append(
            {
                "id": row.id,
                "group": row.group,
                "question": question,
                "images": images,
                "steps": list(row.steps),
                "values": list(row.values),
                "marks": [[list(mark) for mark in marks] for marks in row.marks],
            }
        )
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
