"""Which parameters move: all, the head alone, or low-rank adapters; the vision tower or not."""

from __future__ import annotations

import copy
from typing import Any

import torch

from vilbench.errors import RecipeError
from vilbench.training.learner import Learner
from vilbench.training.recipe import TrainRecipe


def choose(learner: Learner, recipe: TrainRecipe) -> None:
    """Sets what moves, puts adapters in, and turns activation checkpointing on.

    Raises:
        RecipeError: No module has the name of a LoRA target.
    """
    model = learner.reward.backbone
    if recipe.parameters != "all":
        for parameter in model.parameters():
            parameter.requires_grad_(False)
    if recipe.freeze_vision:
        for parameter in vision(model).parameters():
            parameter.requires_grad_(False)
    if recipe.parameters == "lora":
        _adapt(model, recipe)
    if not recipe.loss.language:
        # Without a loss on it, a head of its own would never get a gradient.
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        if head is not None and head.weight is not embedding.weight:
            head.requires_grad_(False)
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()


def vision(model: Any) -> torch.nn.Module:
    """The vision tower of an image-text-to-text model, the projector included."""
    inner = getattr(model, "model", model)
    found = torch.nn.ModuleList(
        getattr(inner, name)
        for name in ("visual", "vision_tower", "vision_model", "multi_modal_projector", "connector")
        if isinstance(getattr(inner, name, None), torch.nn.Module)
    )
    if not len(found):
        raise RecipeError("the vision tower is not found", field="freeze_vision")
    return found


def _adapt(model: Any, recipe: TrainRecipe) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    decoder = model.get_decoder()
    lora = recipe.lora
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
    )
    torch.manual_seed(recipe.seed)
    try:
        inject_adapter_in_model(config, decoder)
    except ValueError as error:
        raise RecipeError(str(error).split(". ")[0], field="lora.targets") from error


def merged(reward: Any) -> Any:
    """The reward model with its adapters merged into the layers that they adapt."""
    if not any(hasattr(module, "lora_A") for module in reward.modules()):
        return reward
    from peft.tuners.lora import LoraLayer

    result = copy.deepcopy(reward)
    for name, module in list(result.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(result.get_submodule(parent), child, module.get_base_layer())
    return result
