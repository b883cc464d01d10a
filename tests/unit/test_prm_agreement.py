from __future__ import annotations

from typing import Any

import pytest
import torch
from scoring_data import tiny

from vilbench.backbone.agreement import is_proven
from vilbench.errors import CheckpointError
from vilbench.prm.agreement import check_agreement
from vilbench.prm.attention import attend
from vilbench.prm.scoring import PrmScoring


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_family_that_agrees_passes(dtype: torch.dtype) -> None:
    prm = tiny(dtype)
    assert is_proven(prm.model.backbone)
    check_agreement(prm.model, prm.encoder().encoder)


def test_a_family_that_computes_otherwise_is_refused_where_it_would_be_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def otherwise(query: Any, key: Any, value: Any, scale: float, *, causal: bool) -> Any:
        return attend(query, key, value, 1.1 * scale, causal=causal)

    monkeypatch.setattr("vilbench.prm.trunk.attend", otherwise)
    monkeypatch.setattr("vilbench.backbone.agreement.PROVEN", frozenset())
    prm = tiny()
    for way in ("shared", "tree"):
        with pytest.raises(CheckpointError, match="choose the way 'per-candidate'"):
            PrmScoring(prm, way)
    PrmScoring(prm, "per-candidate")
