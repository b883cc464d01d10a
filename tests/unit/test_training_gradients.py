"""One row of siblings gives what its solutions, and their prefixes, give one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import engine_data as data
import family_data as families
import pytest
import torch
import training_data as training

from vilbench.errors import CheckpointError
from vilbench.prm.folder import LoadedPrm
from vilbench.training.batch import Batch
from vilbench.training.forward import check_family, hidden_states, sibling_attention
from vilbench.training.learner import Learner
from vilbench.training.recipe import LossConfig
from vilbench.training.rows import TrainingRow

PLAIN = LossConfig()


def gradients(learner: Learner, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """Of the summed losses over all batches, each a mean over them together."""
    learner.zero_grad()
    counts = torch.stack([batch.counts() for batch in batches]).sum(0)
    for batch in batches:
        learner.objective.total(learner(batch), counts).backward()  # type: ignore[no-untyped-call]
    return {
        name: parameter.grad.clone()
        for name, parameter in learner.named_parameters()
        if parameter.grad is not None
    }


def close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    largest = max(float(one.abs().max()) for one in theirs.values())
    assert largest > 1e-2  # there is something to compare
    for name, gradient in theirs.items():
        difference = float((ours[name] - gradient).abs().max())
        assert difference <= 1e-5 * max(1.0, largest), (name, difference)


def prefixes(given: Sequence[TrainingRow]) -> list[TrainingRow]:
    """One example for every labelled step: the steps up to it, and its value."""
    found = []
    for row in given:
        for k, value in enumerate(row.values):
            if value is not None:
                found.append(
                    TrainingRow(
                        id=f"{row.id}/{k}",
                        place=row.place,
                        group=f"{row.id}/{k}",
                        parts=row.parts,
                        steps=row.steps[: k + 1],
                        values=(*[None] * k, value),
                        marks=((),) * (k + 1),
                    )
                )
    return found


@pytest.fixture(scope="module")
def prm() -> LoadedPrm:
    return training.fresh()


@pytest.mark.parametrize("short", [True, False], ids=["sibling-attention", "block-mask"])
def test_grouped_gradients_are_the_sum_over_prefixes(prm: LoadedPrm, short: bool) -> None:
    rows = training.rows(groups=3, siblings=4)
    learner = training.learner(prm, PLAIN)
    one_by_one = [
        training.collator(prm)([siblings])
        for siblings in training.encoded(prm, prefixes(rows), PLAIN)
    ]
    grouped = training.collator(prm)(training.encoded(prm, rows, PLAIN))
    assert len(grouped.ids) == 3 and len(one_by_one) == len(grouped.ends.places)
    theirs = gradients(learner, one_by_one)
    attention = sibling_attention(prm.model.backbone) if short else contextlib.nullcontext()
    with attention:
        close(gradients(learner, [grouped]), theirs)


@pytest.mark.parametrize("seed", range(3))
def test_all_losses_of_siblings_are_those_of_single_rows(prm: LoadedPrm, seed: int) -> None:
    rows = training.rows(groups=4, siblings=5, seed=seed)
    learner = training.learner(prm)
    encoded = training.encoded(prm, rows)
    together = training.collator(prm)(encoded)
    alone = training.collator(prm, together=False)(encoded)
    assert alone.owners is None and len(alone.ids) == len(rows)
    assert torch.equal(together.counts(), alone.counts())
    assert all(count > 0 for count in together.counts().tolist())
    theirs, sums = gradients(learner, [alone]), learner(alone)
    with sibling_attention(prm.model.backbone):
        ours = learner(together)
        close(gradients(learner, [together]), theirs)
        apart = [training.collator(prm)([one]) for one in encoded]
        close(gradients(learner, apart), theirs)
    for mine, other in zip(ours, sums, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_other_families(name: str) -> None:
    prm = training.fresh(folder=families.checkpoint(name))
    rows = training.rows(groups=2, siblings=3)
    encoded = training.encoded(prm, rows)
    learner = training.learner(prm)
    theirs = gradients(learner, [training.collator(prm, together=False)(encoded)])
    for attention in (contextlib.nullcontext(), sibling_attention(prm.model.backbone)):
        with attention:
            close(gradients(learner, [training.collator(prm)(encoded)]), theirs)
    stock = _stock(prm, rows[0])
    with torch.no_grad():
        ours = hidden_states(prm.model.backbone, training.collator(prm)(encoded[:1]))
    torch.testing.assert_close(ours[: len(stock)], stock, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*families.FAMILIES, None])
def test_a_family_that_computes_something_else_is_refused(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    prm = training.fresh(folder=families.checkpoint(name) if name else None)
    model = prm.model.backbone
    batch = training.collator(prm)(training.encoded(prm, training.rows(groups=1, siblings=2)))
    check_family(model, batch)
    with sibling_attention(model):
        check_family(model, batch)
    decoder = type(model.get_decoder())
    stock = decoder.forward

    def scaled(self: object, *args: object, **rest: object) -> object:
        output = stock(self, *args, **rest)
        if rest.get("inputs_embeds") is not None and "siblings" not in rest:
            output.last_hidden_state = output.last_hidden_state * 1.01
        return output

    monkeypatch.setattr(decoder, "forward", scaled)
    with sibling_attention(model), pytest.raises(CheckpointError, match="not supported"):
        check_family(model, batch)


def _stock(prm: LoadedPrm, row: TrainingRow) -> torch.Tensor:
    """Hidden states of prompt and first solution by the whole stock model."""
    encoder = prm.encoder()
    encoded = encoder.encode(row.parts, row.steps)
    ids = torch.tensor([[*encoded.prompt.ids, *encoded.ids]])
    model = prm.model.backbone
    inputs = dict(encoder.encoder.pixels(encoded.prompt.images))
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        hidden: torch.Tensor = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True, **inputs
        ).hidden_states[-1][0]
    return hidden


def test_siblings_do_not_see_each_other(prm: LoadedPrm) -> None:
    rows = training.rows(groups=1, siblings=4)
    changed = (
        *rows[:2],
        TrainingRow(
            id="new",
            place=rows[2].place,
            group=rows[2].group,
            parts=rows[2].parts,
            steps=("something else", "altogether"),
            values=(1.0, 0.0),
            marks=((), ()),
        ),
        rows[3],
    )
    learner = training.learner(prm, PLAIN)
    with torch.no_grad(), sibling_attention(prm.model.backbone):
        before, after = (
            (batch.rows, learner(batch).values)
            for batch in (
                training.collator(prm)(training.encoded(prm, given, PLAIN))
                for given in (rows, changed)
            )
        )
    for row in (0, 1, 3):
        ours, theirs = before[1][before[0] == row], after[1][after[0] == row]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_checkpointing_changes_nothing(prm: LoadedPrm) -> None:
    batch = training.collator(prm)(training.encoded(prm, training.rows()))
    learner = training.learner(prm)
    model = prm.model.backbone
    model.train()
    with sibling_attention(model):
        plain = gradients(learner, [batch])
        model.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            close(gradients(learner, [batch]), plain)
        finally:
            model.gradient_checkpointing_disable()
            model.eval()


def test_tokens_per_labelled_step(prm: LoadedPrm) -> None:
    """Eight siblings of six steps: at most a fifth of one example per prefix."""
    rows = tuple(
        TrainingRow(
            id=str(k),
            place=training.rows(1)[0].place,
            group="g",
            parts=(data.picture(1, 128, 128), "How many circles are left of the three bars? " * 2),
            steps=tuple(f"Step {s + 1}: the sum of {k} and {s} is {k + s}." for s in range(6)),
            values=(1.0,) * 6,
            marks=((),) * 6,
        )
        for k in range(8)
    )
    grouped = training.collator(prm)(training.encoded(prm, rows, PLAIN))
    single = training.collator(prm, together=False)(training.encoded(prm, rows, PLAIN))
    per_prefix = sum(
        training.collator(prm)([one]).tokens for one in training.encoded(prm, prefixes(rows), PLAIN)
    )
    assert len(grouped.ends.places) == len(single.ends.places) == 48
    assert grouped.tokens < single.tokens < per_prefix
    assert grouped.tokens * 5 <= per_prefix
    prompt = len(training.encoded(prm, rows[:1], PLAIN)[0].ids)
    assert single.tokens - grouped.tokens == 7 * prompt
