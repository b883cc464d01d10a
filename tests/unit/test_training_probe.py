"""Heads that are fitted before training: no step of theirs makes the loss less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import training_data as training

from vilbench.config import parse_training
from vilbench.errors import RecipeError
from vilbench.prm.folder import LoadedPrm
from vilbench.training import probe, session
from vilbench.training.batch import Batch
from vilbench.training.learner import Learner
from vilbench.training.recipe import LossConfig, TrainRecipe

LOSS = LossConfig(dense=0.7, surprise=1.0)
ROWS = training.rows(groups=6, siblings=4, seed=2)


def loss_of(learner: Learner, batches: list[Batch]) -> torch.Tensor:
    """The mean over all batches."""
    counts = torch.stack([batch.counts() for batch in batches]).sum(0)
    return torch.stack([learner.objective.total(learner(one), counts) for one in batches]).sum()


def batches_of(prm: LoadedPrm) -> list[Batch]:
    """Of two groups each."""
    encoded = training.encoded(prm, ROWS, LOSS)
    collator = training.collator(prm)
    return [collator(encoded[k : k + 2]) for k in range(0, len(encoded), 2)]


@pytest.mark.parametrize("bias", [True, False])
def test_a_fitted_head_is_where_its_loss_is_least(bias: bool) -> None:
    prm = training.fresh(bias=bias)
    learner = training.learner(prm, LOSS)
    batches = batches_of(prm)
    backbone = {name: one.clone() for name, one in prm.model.backbone.named_parameters()}
    with torch.no_grad():
        before = float(loss_of(learner, batches))
    fitted = probe.fit(learner, batches)
    assert fitted == sum(len(one.ends.places) + len(one.marks.places) for one in batches)
    learner.zero_grad()
    after = loss_of(learner, batches)
    after.backward()  # type: ignore[no-untyped-call]
    assert float(after.detach()) < 0.9 * before
    heads = [*learner.reward.score.parameters(), *learner.surprise.parameters()]
    for one in heads:
        # Not zero: the ridge holds the weights back a little.
        assert one.grad is not None
        assert float(one.grad.abs().max()) < 5e-3
    for name, one in prm.model.backbone.named_parameters():
        assert torch.equal(one, backbone[name]), name


def test_how_labels_come_in_batches_plays_no_part() -> None:
    prm = training.fresh(bias=True)
    learner = training.learner(prm, LOSS)
    weights = []
    encoded = training.encoded(prm, ROWS, LOSS)
    collator = training.collator(prm)
    for batches in ([collator(encoded)], [collator([one]) for one in encoded[::-1]]):
        probe.fit(learner, batches)
        weights.append(prm.model.score.weight.clone())
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def recipe(folder: Path, **changes: object) -> TrainRecipe:
    return parse_training(
        {
            "name": "tiny",
            "model": str(training.checkpoint()),
            "format": "steps-brief",
            "data": {"train": str(folder / "rows.jsonl"), "dev": str(folder / "rows.jsonl")},
            "optimizer": {"learning_rate": 1e-9, "warmup": 0},
            "batch": {"solutions": 8},
            "epochs": 1,
            "save_every": 1,
            "fit_head": 100,
            **changes,
        }
    )


def test_a_training_begins_with_the_fitted_head(tmp_path: Path) -> None:
    training.write_rows(tmp_path, ROWS)
    errors = {}
    for fitted in (0, 100):
        lines: list[str] = []
        out = tmp_path / f"out-{fitted}"
        session.train(recipe(tmp_path, fit_head=fitted), out, say=lines.append)
        assert any(line.startswith("head fitted to") for line in lines) == bool(fitted)
        told = next(line for line in lines if "dev_mse" in line).split()
        errors[fitted] = float(told[told.index("dev_mse") + 1])
    assert errors[100] < 0.8 * errors[0]


def test_a_head_that_is_kept_is_not_fitted(tmp_path: Path) -> None:
    training.write_rows(tmp_path, ROWS)
    model = session.train(recipe(tmp_path), tmp_path / "first").folder
    with pytest.raises(RecipeError, match="whose head is kept"):
        session.train(recipe(tmp_path, model=str(model)), tmp_path / "second")


def test_it_is_for_squared_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="fit_head"):
        recipe(tmp_path, loss={"kind": "bce"})
