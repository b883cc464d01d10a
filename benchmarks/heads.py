"""What the embedded training's heads know: right against wrong solutions of one problem.

Reads the state of a training stage and rows of `vilbench.training.embedded.labels` of the dev
split, and prints the within-problem AUROC of the head `sense` (at the last token), of the head
`surprise` where there is one (mean over tokens, negated) and of the likelihood (likewise).

    python benchmarks/heads.py --state build/embedded/base/fourth.state.safetensors \
        --processor build/embedded/base/final --rows build/labels/dev/rows.jsonl
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vilbench.backbone.processor import load_processor
from vilbench.metrics.auroc import within_auroc
from vilbench.metrics.bootstrap import Bootstrap
from vilbench.training.data import load
from vilbench.training.embedded.architecture import SHAPES, Size, make_model
from vilbench.training.embedded.batch import Collator, hidden_states
from vilbench.training.embedded.examples import FORMAT, Example, Marked
from vilbench.training.embedded.loop import Learner
from vilbench.training.rows import TrainingRow, ValueRange


def learner_of(state: Path, size: Size, tokenizer: Any) -> Learner:
    """Model and heads of a stage, ready to be read."""
    tensors = load_file(state)
    deep = SHAPES["small"].layers if "learner/surprise.weight" in tensors else None
    learner = Learner(make_model(tokenizer, size), early=deep)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            parameter.copy_(tensors[f"learner/{name}"])
    return learner.eval()


@torch.no_grad()
def scores(
    learner: Learner, collator: Collator, rows: Sequence[TrainingRow]
) -> dict[str, list[float]]:
    """Scores of the solutions of one problem by each source; more is better."""
    prompt = FORMAT.put(rows[0].parts)
    texts = ["\n".join(row.steps) for row in rows]
    batch = collator.collate(
        [Example("solve", "dev", prompt, text, "", Marked(text, (), len(text))) for text in texts]
    )
    hidden = hidden_states(learner.model, batch)
    told = learner.model.lm_head(hidden[:, :-1]).log_softmax(-1)
    likely = told.gather(2, batch.ids[:, 1:, None])[..., 0]
    found: dict[str, list[float]] = defaultdict(list)
    for row, said in enumerate(batch.said):
        places = said.nonzero()[:, 0]
        found["likelihood"].append(float(likely[row, places - 1].mean()))
        found["sense"].append(float(learner.sense(hidden[row, places[-1]])))
        if learner.surprise is not None:
            found["surprise"].append(-float(learner.surprise(hidden[row, places]).mean()))
    return found


def main() -> None:
    """Prints a line for every source and family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--processor", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--size", choices=["small", "base"], default="base")
    given = parser.parse_args()
    torch.set_num_threads(1)
    processor = load_processor(given.processor)
    learner = learner_of(given.state, given.size, processor.tokenizer)
    collator = Collator(processor)
    groups: dict[str, list[TrainingRow]] = defaultdict(list)
    for row in load(given.rows, ValueRange(0, 1)).rows:
        groups[row.group].append(row)
    right = {name: [row.values[-1] == 1 for row in rows] for name, rows in groups.items()}
    found = {name: scores(learner, collator, rows) for name, rows in groups.items()}
    families = sorted({name.removeprefix("=").split("-")[0] for name in groups})
    for source in found[next(iter(found))]:
        for family in ("", *families):
            names = [name for name in groups if name.removeprefix("=").startswith(family)]
            pools = [found[name][source] for name in names]
            auroc = within_auroc(pools, [right[name] for name in names], Bootstrap(len(names)))
            if auroc.value is not None:
                print(
                    f"{source:10} {family or 'all':9} {auroc.value:.3f} "
                    f"[{auroc.low:.3f}, {auroc.high:.3f}] of {auroc.n_problems} problems"
                )


if __name__ == "__main__":
    main()
