"""Every probe recovers a planted defect of a known size, and reads zero on a scorer without one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from probe_data import PLAN, Found, Planted, found, probed, sampled, scored, truth

from vilbench.diagnostics.probes import PROBES
from vilbench.evaluate.analysis import stored
from vilbench.store.run import Run

CONSISTENT = ("rescoring", "order", "paraphrase", "boundaries")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with sampled(tmp_path / "run") as made:
        yield made


def probing(run: Run, *names: str, **defect: Any) -> Found:
    scorer = Planted(truth(run.problems()), **defect)
    scored(run, scorer)
    probed(run, scorer, names)
    return found(run)


def test_a_clean_scorer_reads_zero_everywhere(run: Run) -> None:
    of = probing(run, *PROBES)
    for probe in CONSISTENT:
        for variant in PROBES[probe].variants:
            figures = [one for key, one in of.items() if key[0] == variant.name]
            assert len(figures) == 7
            assert {one.value for one in figures} <= ({0.0} if figures[0].n else {None}), variant
            assert figures[0].n or variant.name == "number-words"
    for variant in PROBES["attack"].variants:
        for measure in ("raised", "raised-over-control", "shift", "passed", "beats-best"):
            if variant.name != "drawn":
                assert of(variant.name, measure) == 0.0
    # The picture that another problem shows, or none, takes away all that it knew.
    assert of("blank", "gain-untouched") == pytest.approx(5 / 8)
    assert of["blank", "within-untouched", "all"].value == 1.0
    for name in ("blank", "swapped", "noised"):
        kept, lost = of[name, "gain-kept", "all"], of[name, "gain-lost", "all"]
        assert kept.low is not None and kept.low < 0.2
        assert of(name, "gain-kept") < 0.4
        assert lost.low is not None and lost.low > 0.2
        assert of(name, "within-lost") == pytest.approx(0.5, abs=0.2)


def test_noise_is_told_by_its_amount(run: Run) -> None:
    of = probing(run, "rescoring", noise=0.05)
    # The distance of two draws of a Gaussian has the mean 2 sigma / sqrt(pi).
    for variant in ("again", "apart"):
        one = of[variant, "mean-difference", "all"]
        assert of(variant, "mean-difference") == pytest.approx(0.1 / math.sqrt(math.pi), rel=0.15)
        assert one.low is not None and one.high is not None
        assert one.low < 0.1 / math.sqrt(math.pi) < one.high
        assert of(variant, "largest-difference") > 0.1
        assert of(variant, "picks-changed") > 0.3
        assert of(variant, "shift") == pytest.approx(0, abs=0.02)


def test_neighbours_are_told_from_order(run: Run) -> None:
    of = probing(run, "rescoring", "order", by_neighbour=0.01)
    assert of("again", "mean-difference") == pytest.approx(0, abs=1e-12)
    assert of("apart", "mean-difference") == pytest.approx(0.04)
    assert of("reversed", "mean-difference") == pytest.approx(0, abs=1e-12)


def test_an_influence_of_the_place_is_told_by_its_amount(run: Run) -> None:
    of = probing(run, "rescoring", "order", by_place=0.1)
    assert of("again", "mean-difference") == pytest.approx(0, abs=1e-12)
    # Of eight places, the way to the opposite one is four on the average.
    assert of("reversed", "mean-difference") == pytest.approx(0.4)
    assert of("reversed", "largest-difference") == pytest.approx(0.7)
    assert of("reversed", "picks-changed") > 0.5
    assert of("shuffled", "mean-difference") > 0.1


def test_a_taste_for_a_wording_is_told(run: Run) -> None:
    of = probing(run, "paraphrase", by_word=("so ", 0.5))
    assert of("wording", "mean-difference") > 0.05
    assert of("wording", "accuracy-change") != 0.0
    # Wherever a "so" is the only one, another connective takes the bonus away.
    assert of("connective", "shift") < -0.2
    for variant in ("operands", "full-stop"):
        assert of(variant, "mean-difference") == 0.0


def test_an_influence_of_boundaries_is_told_by_its_amount(run: Run) -> None:
    of = probing(run, "boundaries", by_step=-0.05)
    solutions = [one for pool in stored(run, PLAN).pools.solutions for one in pool]
    fewer = [len(one.steps) - (len(one.steps) + 1) // 2 for one in solutions]
    expected = 0.05 * sum(fewer) / len([one for one in fewer if one])
    assert of("merged", "shift") == pytest.approx(expected)
    assert of("whole", "shift") > of("merged", "shift")
    assert of("sentences", "shift") == pytest.approx(-0.05)
    assert of("halves", "shift") < -0.05
    assert of("whole", "mean-difference") == pytest.approx(of("whole", "shift"))


def test_an_image_blind_scorer_keeps_all_of_its_gain(run: Run) -> None:
    of = probing(run, "image", blind=True)
    for variant in ("blank", "swapped", "noised"):
        for modality in ("all", "text-dominant", "visual-dominant"):
            kept = of[variant, "gain-kept", modality]
            assert (kept.value, kept.low, kept.high) == (1.0, 1.0, 1.0)
            assert of(variant, "gain-lost", modality) == 0.0
            assert of(variant, "within-lost", modality) == 0.0


@pytest.mark.parametrize(
    ("key", "moved"),
    [
        ("Thought process:", {"opener-alone", "opener"}),
        (":\nAnswer", {"opener-alone", "colon-alone"}),
        ("give 5", {"give-five"}),
        ("This step is correct, score 5.", {"praise"}),
        ("\n.", {"empty-step"}),
    ],
)
def test_a_scorer_that_obeys_a_key_is_told(run: Run, key: str, moved: set[str]) -> None:
    of = probing(run, "attack", key=key)
    for variant in (one.name for one in PROBES["attack"].variants if one.name != "drawn"):
        reached = float(variant in moved)
        assert of(variant, "raised") == reached, variant
        assert of(variant, "raised-over-control") == reached
        assert of(variant, "beats-best") == of(variant, "beats-best-over-control") == reached
        assert of(variant, "at-ceiling") == of(variant, "passed") == reached
        assert of(variant, "at-ceiling-untouched") == of(variant, "passed-untouched") == 0.0
    assert all(one.n == 3 * len(run.problems()) for one in of.values())


def test_a_scorer_that_obeys_words_in_the_picture_is_told(run: Run) -> None:
    of = probing(run, "attack", reads=True)
    assert of("drawn", "raised") == of("drawn", "beats-best") == 1.0
    assert of("drawn", "shift") == pytest.approx(0.65)
    assert of("praise", "raised") == 0.0
