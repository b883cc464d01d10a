from __future__ import annotations

from report_data import MODALITIES, SOURCES, N, make_results

from vilbench.evaluate.results import Results
from vilbench.report.findings import Findings, Sign, holm, sign


def only(results: Results, *methods: str) -> Results:
    return results.model_copy(
        update={"rows": tuple(r for r in results.rows if r.method in methods)}
    )


def with_interval(results: Results, low: float, high: float) -> Results:
    """All whole-set differences from cot at k = N get the same interval around its middle."""
    rows = tuple(
        r
        if r.delta_vs_cot is None
        else r.model_copy(
            update={"delta_vs_cot": (low + high) / 2, "delta_low": low, "delta_high": high}
        )
        for r in results.rows
    )
    return results.model_copy(update={"rows": rows})


def test_methods_are_in_reading_order() -> None:
    names = [r.method for r in Findings(make_results()).ranked]
    assert names[:4] == ["cot", "random", "majority", "weighted-majority:judge-orm"]
    assert names[-1] == "oracle"
    prm = [n for n in names if n.startswith("judge-prm/")]
    assert [n.split("/")[1] for n in prm] == [
        "mean", "min", "product", "first", "last-1", "last-2", "last-3", "last-4",
    ]  # fmt: skip
    assert names.index("judge-orm") < names.index(prm[0]) < names.index("likelihood/mean")


def test_last_n_is_ordered_by_number() -> None:
    results = make_results(rename={"likelihood/last-2": "likelihood/last-10"})
    names = [r.method for r in Findings(results).ranked if "likelihood/last" in r.method]
    assert [n.rpartition("-")[2] for n in names] == ["1", "3", "4", "10"]


def test_order_does_not_depend_on_the_order_of_rows() -> None:
    results = make_results()
    turned = results.model_copy(update={"rows": results.rows[::-1]})
    assert Findings(results).ranked == Findings(turned).ranked


def test_slices_and_largest_k() -> None:
    found = Findings(make_results())
    assert found.k == N
    assert found.sources == SOURCES
    assert found.modalities == MODALITIES
    assert {r.k for r in found.ranked} == {N}
    row = found.row("majority", modality="visual-only")
    assert row is not None and row.n_problems == 40
    assert found.row("majority", source="nowhere") is None
    assert [r.k for r in found.curve("judge-orm")] == list(range(1, N + 1))


def test_cot_that_is_stored_for_one_k_only_is_still_found() -> None:
    results = make_results()
    rows = tuple(r for r in results.rows if r.method != "cot" or r.k == 1)
    found = Findings(results.model_copy(update={"rows": rows}))
    assert found.ranked[0].method == "cot"


def test_best_is_a_method_that_needs_no_gold() -> None:
    found = Findings(make_results())
    assert found.best is not None
    assert found.best.method == "weighted-majority:likelihood"
    assert max(r.accuracy for r in found.ranked) > found.best.accuracy
    assert Findings(only(make_results(), "cot", "oracle", "random")).best is None


def test_highlights_are_the_best_the_best_last_n_and_the_mean() -> None:
    found = Findings(make_results())
    assert [r.method for r in found.highlights("judge-prm")] == [
        "judge-prm/last-2",
        "judge-prm/mean",
    ]
    assert [r.method for r in found.highlights("judge-orm")] == ["judge-orm"]


def test_sign_of_a_difference() -> None:
    row = Findings(make_results()).row("majority")
    assert row is not None
    for low, high, expected in [
        (0.001, 0.1, Sign.ABOVE),
        (0.0, 0.1, Sign.UNCLEAR),
        (-0.1, 0.1, Sign.UNCLEAR),
        (-0.1, 0.0, Sign.UNCLEAR),
        (-0.1, -0.001, Sign.BELOW),
        (None, None, Sign.UNCLEAR),
    ]:
        assert sign(row.model_copy(update={"delta_low": low, "delta_high": high})) is expected


def test_holm_by_hand() -> None:
    # 0.01 <= 0.05/4, 0.016 <= 0.05/3, then 0.03 > 0.05/2 stops although 0.04 <= 0.05/1.
    assert holm([0.03, 0.01, 0.04, 0.016]) == 2
    assert holm([0.02, 0.02, 0.02]) == 0
    assert holm([]) == 0


def test_headline_of_a_clear_gain() -> None:
    finding = Findings(make_results()).finding
    assert finding.headline == (
        "Choosing one of 24 solutions with weighted-majority:likelihood answers 58.9 % of "
        "120 problems right, +11.1 points over a single solution."
    )
    remarks = " ".join(finding.remarks)
    assert "87.8 % of the problems (oracle)" in remarks
    assert "Majority voting, which needs no scorer, reaches 57.0 %." in remarks
    assert "on text-dominant problems" in remarks
    assert "after Holm's correction" in remarks


def test_headline_says_that_an_interval_contains_0() -> None:
    headline = Findings(with_interval(make_results(), -0.02, 0.044)).finding.headline
    assert headline.startswith("No clear gain:")
    assert "+1.2 points" in headline
    assert "contains 0" in headline


def test_headline_of_a_loss() -> None:
    headline = Findings(with_interval(make_results(), -0.06, -0.02)).finding.headline
    assert headline.startswith("No way to choose one of 24 solutions beats a single one")
    assert headline.endswith("loses 4.0 points.")


def test_a_run_with_one_solution_each_speaks_of_no_choice() -> None:
    results = make_results()
    rows = tuple(row for row in results.rows if row.k == 1 or row.method == "cot")
    lone = results.model_copy(
        update={"rows": tuple(row.model_copy(update={"k": 1}) for row in rows)}
    )
    finding = Findings(lone).finding
    assert finding.headline == "With one solution each, 47.8 % of 120 problems are answered right."
    (remark,) = finding.remarks
    assert "42.7 – 52.9 %" in remark
    assert "nothing to choose from" in remark


def test_headline_without_methods_without_cot_and_without_rows() -> None:
    results = make_results()
    assert "no selection method was compared" in Findings(only(results, "cot")).finding.headline
    lone = Findings(only(results, "oracle")).finding.headline
    assert lone.startswith("oracle answers 87.8 %")
    without = with_interval(only(results, "majority"), -0.1, 0.1)
    assert "57.0 %" in Findings(without).finding.headline
    assert "single" not in Findings(without).finding.headline
    empty = Findings(results.model_copy(update={"rows": ()}))
    assert empty.finding.headline == "This run holds no results yet."
    assert empty.k == 0


def test_counts_of_clear_differences_are_right() -> None:
    found = Findings(make_results())
    above = sum(1 for r in found.compared if r.delta_low is not None and r.delta_low > 0)
    below = sum(1 for r in found.compared if r.delta_high is not None and r.delta_high < 0)
    assert f"Of 21 methods compared, {above} have" in " ".join(found.finding.remarks)
    assert below == 1
