"""One step of training with sharded parameters (FSDP 2), beside one without.

Run by several processes; exits with 0 where both agree.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
import training_data as training
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from vilbench.prm.folder import LoadedPrm
from vilbench.training import state
from vilbench.training.forward import sibling_attention
from vilbench.training.learner import Learner
from vilbench.training.optimizer import make_optimizer
from vilbench.training.recipe import OptimizerConfig


class Made(NamedTuple):
    prm: LoadedPrm
    learner: Learner
    optimizer: torch.optim.Optimizer


def step(made: Made) -> dict[str, torch.Tensor]:
    """The gradients of one update."""
    batch = training.collator(made.prm)(training.encoded(made.prm, training.rows()))
    with sibling_attention(made.prm.model.backbone):
        loss = made.learner.objective.total(made.learner(batch), batch.counts())
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = {
        name: state.whole(parameter.grad)
        for name, parameter in made.learner.named_parameters()
        if parameter.grad is not None
    }
    made.optimizer.step()
    made.optimizer.zero_grad()
    return gradients


def make(*, sharded: bool) -> Made:
    torch.manual_seed(0)
    prm = training.fresh(folder=training.checkpoint())
    learner = training.learner(prm)
    if sharded:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
        for layer in prm.model.backbone.get_decoder().layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(learner, mesh=mesh)
    config = OptimizerConfig(learning_rate=1e-3)
    return Made(prm, learner, make_optimizer(learner.named_parameters(), config))


def main(folder: Path) -> None:
    training.checkpoint()  # before the processes know of each other: the first alone would save
    torch.distributed.init_process_group("gloo")
    first = torch.distributed.get_rank() == 0
    plain, sharded = make(sharded=False), make(sharded=True)
    assert all(isinstance(one, DTensor) for one in sharded.learner.parameters())
    theirs, ours = step(plain), step(sharded)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5)
    folder.mkdir(exist_ok=True)
    state.write_weights(folder, sharded.learner, first=first)
    state.write_optimizer(folder, sharded.learner, sharded.optimizer, first=first)
    torch.distributed.barrier()
    again = make(sharded=True)
    state.read_weights(folder, again.learner)
    state.read_optimizer(folder, again.learner, again.optimizer)
    step(sharded)
    step(again)
    found = dict(again.learner.named_parameters())
    for name, parameter in sharded.learner.named_parameters():
        assert torch.equal(state.whole(found[name]), state.whole(parameter)), name
    whole = state.gathered(again.learner.reward)
    assert whole is not None and state.gathered(plain.learner.reward) is None
    assert whole.keys() == plain.learner.reward.state_dict().keys()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
