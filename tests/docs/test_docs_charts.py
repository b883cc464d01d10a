"""The charts of the open questions show what the pages say, as the pages are now."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from pages import ROOT


@pytest.fixture(scope="module")
def questions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("questions", ROOT / "benchmarks/questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["questions"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_differences_are_read_from_the_tables(questions: ModuleType) -> None:
    found = {chart.name: dict(questions.differences(chart)) for chart in questions.CHARTS}
    assert [len(rows) for rows in found.values()] == [9, 3, 4]
    apart = found["questions-segments"]["answer-apart"]
    assert (apart.value, apart.low, apart.high) == pytest.approx((-0.041, -0.073, -0.009))
    together = found["questions-training"]["together"]
    assert (together.value, together.low, together.high) == pytest.approx((-0.02, -0.048, 0.006))
    assert found["questions-weights"]["attention"].value == pytest.approx(-0.009)


def test_the_shown_values_are_those_of_the_pages(questions: ModuleType) -> None:
    for chart in questions.CHARTS:
        shown = (ROOT / f"docs/images/{chart.name}.svg").read_text(encoding="utf-8")
        for name, point in questions.differences(chart):
            assert name in shown, f"run benchmarks/questions.py: {chart.name}"
            assert f"{100 * point.value:+.1f}".replace("-", "−") in shown
