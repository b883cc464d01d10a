"""The parts of a training: labels and their places, losses, order, optimizers, metrics, log."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import training_data as training
from torch.nn import functional

from vilbench.metrics import Bootstrap, within_auroc
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.scoring import PrmScoring
from vilbench.training.forward import sibling_attention
from vilbench.training.journal import Journal
from vilbench.training.loss import Objective
from vilbench.training.measure import measure
from vilbench.training.muon import Muon
from vilbench.training.optimizer import make_optimizer, schedule
from vilbench.training.order import Order
from vilbench.training.recipe import BatchConfig, LossConfig, OptimizerConfig
from vilbench.training.rows import Mark, Place, TrainingRow

PLAIN = LossConfig()


@pytest.fixture(scope="module")
def prm() -> LoadedPrm:
    return training.fresh(folder=training.checkpoint())


def row(steps: tuple[str, ...], values: tuple[float | None, ...], **rest: object) -> TrainingRow:
    marks = rest.pop("marks", ((),) * len(steps))
    return TrainingRow("r", Place("f", 1), "g", ("How many?",), steps, values, marks)  # type: ignore[arg-type]


@pytest.mark.parametrize("together", [True, False])
def test_labels_sit_exactly_where_scores_are_read(prm: LoadedPrm, together: bool) -> None:
    rows = training.rows(groups=3, siblings=4, seed=8)
    batch = training.collator(prm, together=together)(training.encoded(prm, rows, PLAIN))
    step_end = prm.encoder().step_id
    assert (batch.ids.flatten()[batch.ends.places] == step_end).all()
    with torch.no_grad(), sibling_attention(prm.model.backbone):
        given = training.learner(prm, PLAIN)(batch).values
    scoring = PrmScoring(prm)
    found, labels = [], []
    for number in dict.fromkeys(batch.rows.tolist()):
        (values,) = scoring.score(rows[number].parts, [rows[number].steps]).values
        for value, label in zip(values, rows[number].values, strict=True):
            if label is not None:
                found.append(value)
                labels.append(label)
    assert labels == batch.ends.values.tolist()
    assert given.tolist() == pytest.approx(found, abs=1e-5)


def test_marks_and_learnt_tokens(prm: LoadedPrm) -> None:
    steps = ("three circles", " left of 12 ", "")
    marks = ((Mark(0, 5, 1.0),), (Mark(0, 4, 1.0), Mark(8, 10, 0.0)), ())
    loss = LossConfig(dense=1.0, language=1.0, language_on="correct-prefix")
    ((siblings),) = training.encoded(prm, [row(steps, (1.0, 0.0, None), marks=marks)], loss)
    (solution,) = siblings.solutions
    pieces = prm.encoder().encode(("How many?",), steps)
    spans = prm.encoder().spans(pieces, steps)
    ends = set(pieces.ends)
    wanted = []
    for place, (owner, stop) in enumerate(zip(*spans, strict=True)):
        inside = [m.value for m in marks[owner] if m.start < stop <= m.end]
        if inside and place not in ends:
            wanted.append((place, inside[0]))
    assert list(zip(*solution.marks, strict=True)) == wanted and len(wanted) >= 4
    learnt = set(solution.learn.tolist())
    for place, (owner, stop) in enumerate(zip(*spans, strict=True)):
        right = owner == 0 or (owner == 1 and stop <= 8)
        assert (place in learnt) == (right and place not in ends), place
    assert solution.ends.places.tolist() == list(pieces.ends[:2])


def test_language_of_whole_solutions(prm: LoadedPrm) -> None:
    loss = LossConfig(language=1.0)
    right = row(("a", "b"), (1.0, None))
    wrong = row(("a", "b"), (1.0, 0.0))
    (siblings,) = training.encoded(prm, [right, wrong], loss)
    first, second = siblings.solutions
    ends = prm.encoder().encode(("How many?",), right.steps).ends
    assert first.learn.tolist() == [k for k in range(len(first.ids)) if k not in ends]
    assert second.learn.tolist() == []


def test_losses_are_what_they_are_called(prm: LoadedPrm) -> None:
    rows = training.rows(groups=2, siblings=3, seed=2)
    config = LossConfig(dense=1.0, rank=1.0, language=1.0)
    batch = training.collator(prm)(training.encoded(prm, rows, config))
    ends = torch.linspace(-1, 2, len(batch.ends.places))
    marks = torch.linspace(0, 1, len(batch.marks.places))
    logits = torch.randn(len(batch.language.places), 50)
    batch = dataclasses.replace(
        batch, language=batch.language._replace(values=batch.language.values % 50)
    )
    sums = Objective(config, training.SPAN).sums(ends, marks, logits, batch)
    assert float(sums.ends) == pytest.approx(float((ends - batch.ends.values).square().sum()))
    assert float(sums.marks) == pytest.approx(float((marks - batch.marks.values).square().sum()))
    told = logits.log_softmax(-1)[range(len(logits)), batch.language.values]
    assert float(sums.language) == pytest.approx(-float(told.sum()), rel=1e-5)
    last: dict[str, list[tuple[float, float]]] = {}
    for number in dict.fromkeys(batch.rows.tolist()):
        place = (batch.rows == number).nonzero()[-1, 0]
        pair = (float(batch.ends.values[place]), float(ends[place]))
        last.setdefault(rows[number].group, []).append(pair)
    rank = sum(
        math.log1p(math.exp(worse[1] - better[1]))
        for pairs in last.values()
        for better in pairs
        for worse in pairs
        if better[0] > worse[0]
    )
    assert rank > 0 and float(sums.rank) == pytest.approx(rank, rel=1e-5)
    total = Objective(config, training.SPAN).total(sums, batch.counts())
    parts = [float(part) for part in sums[:4]]
    counts = batch.counts().tolist()
    assert float(total) == pytest.approx(sum(p / c for p, c in zip(parts, counts, strict=False)))


@pytest.mark.parametrize("hard", [None, 0.5])
def test_bce_on_soft_and_on_hard_labels(prm: LoadedPrm, hard: float | None) -> None:
    config = LossConfig(kind="bce", hard_at=hard)
    given = row(("a", "b", "c"), (0.25, 0.5, 1.0))
    batch = training.collator(prm)(training.encoded(prm, [given], config))
    scores = torch.tensor([0.3, -1.0, 2.0])
    labels = torch.tensor([0.0, 1.0, 1.0] if hard else [0.25, 0.5, 1.0])
    objective = Objective(config, training.SPAN)
    found = objective.sums(scores, scores[:0], None, batch).ends
    wanted = functional.binary_cross_entropy(scores.sigmoid(), labels, reduction="sum")
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    (read,) = objective.read([scores.numpy()])
    np.testing.assert_allclose(read, scores.sigmoid().numpy(), rtol=1e-6)


def test_the_order_takes_everything_once_an_epoch(prm: LoadedPrm) -> None:
    siblings = training.encoded(prm, training.rows(groups=30, siblings=3), PLAIN)
    config = BatchConfig(solutions=6, tokens=600)
    order = Order(siblings, config, epochs=2, seed=1)
    first, second = order.batches[: order.first[1]], order.batches[order.first[1] :]
    for epoch in (first, second):
        assert sorted(k for batch in epoch for k in batch) == list(range(30))
    assert first != second
    for batch in order.batches:
        width = max(siblings[k].width for k in batch)
        assert len(batch) == 1 or len(batch) * width <= 600
        assert sum(len(siblings[k].solutions) for k in batch) <= 7
    assert order.digest() == Order(siblings, config, epochs=2, seed=1).digest()
    assert order.digest() != Order(siblings, config, epochs=2, seed=2).digest()
    assert order.epoch(0) == 0 and order.epoch(order.first[1]) == 1
    assert order.epoch(len(order)) == 2
    cut = Order(siblings, config, epochs=2, seed=1, steps=3)
    assert cut.batches == order.batches[:3]


def test_like_lengths_come_together(prm: LoadedPrm) -> None:
    siblings = training.encoded(prm, training.rows(groups=60, siblings=2), PLAIN)
    order = Order(siblings, BatchConfig(solutions=8), epochs=1, seed=0)
    padded = sum(len(b) * max(siblings[k].width for k in b) for b in order.batches)
    assert padded < 1.15 * sum(one.width for one in siblings)


def test_muon_of_the_trainer_is_muon(prm: LoadedPrm) -> None:
    model = training.fresh(folder=training.checkpoint()).model
    twin = training.fresh(folder=training.checkpoint()).model
    config = OptimizerConfig(kind="muon", learning_rate=1e-2, weight_decay=0.02)
    optimizer = make_optimizer(model.named_parameters(), config)
    (matrices,) = (group["params"] for group in optimizer.param_groups if group["muon"])
    names = {id(one): name for name, one in model.named_parameters()}
    chosen = {names[id(one)] for one in matrices}
    assert not any("embed_tokens" in name or "score" in name for name in chosen)
    reference = Muon({n: p for n, p in twin.named_parameters() if n in chosen})
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        optimizer.step()
        reference.step(1e-2)
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        if name in chosen:
            torch.testing.assert_close(parameter, theirs[name], rtol=1e-5, atol=1e-6)
        else:
            assert not torch.equal(parameter, theirs[name])


def test_schedules() -> None:
    cosine = schedule(OptimizerConfig(warmup=4, floor=0.1), 104)
    assert [cosine(k) for k in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert cosine(4) == 1 and cosine(54) == pytest.approx(0.55) and cosine(104) == 0.1
    linear = schedule(OptimizerConfig(schedule="linear", warmup=0), 10)
    assert [linear(0), linear(5), linear(10)] == [1, 0.5, 0]
    constant = schedule(OptimizerConfig(schedule="constant", warmup=0.1), 20)
    assert [constant(0), constant(1), constant(19)] == [0.5, 1, 1]


def test_metrics_agree_with_those_of_the_evidence() -> None:
    rows = [
        one
        for one in training.rows(groups=20, siblings=5, seed=4)
        if any(value is not None for value in one.values)
    ]
    rng = np.random.default_rng(0)
    labels = [[value for value in one.values if value is not None] for one in rows]
    scores = [
        np.round(rng.normal(size=len(label)) + np.array(label), 1).astype(np.float32)
        for label in labels
    ]
    found = measure(rows, scores, training.SPAN)
    flat = np.concatenate([np.array(label) for label in labels])
    assert found.mse == pytest.approx(float(np.square(np.concatenate(scores) - flat).mean()))
    groups = list(dict.fromkeys(one.group for one in rows))
    pools = [[k for k, one in enumerate(rows) if one.group == group] for group in groups]
    theirs = within_auroc(
        [[float(scores[k][-1]) for k in pool] for pool in pools],
        [[labels[k][-1] > 0.5 for k in pool] for pool in pools],
        Bootstrap(len(pools), 10, seed=0),
    )
    assert found.within == pytest.approx(theirs.value)
    wins = [
        (a > b) + 0.5 * (a == b)
        for a, x in zip(np.concatenate(scores), flat, strict=True)
        for b, y in zip(np.concatenate(scores), flat, strict=True)
        if x > 0.5 >= y
    ]
    assert found.auroc == pytest.approx(float(np.mean(wins)))
    assert found.value("mse") == -found.mse and found.value("within-auroc") == found.within


def test_the_log_forgets_what_is_done_again(tmp_path: Path) -> None:
    said: list[str] = []
    journal = Journal(tmp_path, 0, said.append)
    for step in (1, 2, 3):
        journal.log(step, {"loss": 1 / step, "solutions": 4.0})
    journal.log(3, {"dev_mse": 0.5})
    journal.close()
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "lo')
    Journal(tmp_path, 2, said.append).close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
    assert any("dev_mse 0.5" in line for line in said)
