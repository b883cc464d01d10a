"""A very small random reward model, for tests that score thousands of prefixes."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache

import prm_data
import torch

from vilbench.prm.folder import LoadedPrm
from vilbench.prm.model import RewardModel


@cache
def tiny(dtype: torch.dtype = torch.float32, side: str = "right") -> LoadedPrm:
    """Two layers of width 32 with a head that gives values of the order of 1."""
    base = prm_data.loaded()
    config = copy.deepcopy(base.model.backbone.config)
    text, vision = config.text_config, config.vision_config
    text.hidden_size = vision.out_hidden_size = 32
    text.num_hidden_layers, text.intermediate_size = 2, 48
    text.layer_types = text.layer_types[:2]
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [2, 1, 1]}
    text.initializer_range = 0.3
    vision.depth, vision.hidden_size, vision.intermediate_size = 1, 16, 24
    vision.fullatt_block_indexes, vision.num_heads = [0], 2
    torch.manual_seed(5)
    backbone = type(base.model.backbone)(config).to(dtype)
    processor = copy.deepcopy(base.processor)
    processor.tokenizer.padding_side = side
    model = RewardModel(backbone, seed=1, spread=0.2).eval()
    return dataclasses.replace(base, model=model, processor=processor)
