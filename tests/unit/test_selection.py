import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.selection import pick


def test_pick() -> None:
    assert pick([1.0, None, 3.0], 0) == 2
    assert pick([None, -1.0], 0) == 1
    assert pick([None, None], 0) is None
    assert pick([], 0) is None
    with pytest.raises(ValueError, match="NaN"):
        pick([1.0, math.nan], 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_pick_is_seeded(seed: int) -> None:
    scores = [1.0, 4.0, None, 4.0, 4.0]
    assert pick(scores, seed) == pick(scores, seed)
    assert pick(scores, seed) in (1, 3, 4)


def test_pick_spreads_ties_evenly() -> None:
    drawn = [pick([2.0, 2.0, 1.0], seed) for seed in range(400)]
    assert 150 < drawn.count(0) < 250
    assert drawn.count(0) + drawn.count(1) == 400


def test_import_is_light() -> None:
    code = (
        "import sys, vilbench.selection; "
        "print([m for m in ('torch', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
