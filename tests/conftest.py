"""Settings that all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Machines that run tests are busy: examples are checked, not timed.
settings.register_profile("vilbench", deadline=None)
settings.load_profile("vilbench")


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """A training rounds the smallest numbers to 0 in its thread; the next test has them again."""
    yield
    if "torch" in sys.modules:
        import torch

        torch.set_flush_denormal(False)
