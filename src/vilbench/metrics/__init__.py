"""Statistics of the evidence: intervals, paired comparisons and discrimination.

The unit of resampling is the problem, and versions of one problem are drawn together: samples
of one problem are not independent, and neither are these. All
randomness is in `Bootstrap`, whose one set of resamples serves every column, so that
methods are compared on the same resampled problems and a seed gives the same numbers.
"""

from vilbench.metrics.auroc import (
    POOLED_RESAMPLES,
    Auroc,
    Separation,
    Stratified,
    pooled_auroc,
    within_auroc,
)
from vilbench.metrics.bootstrap import LEVEL, Bootstrap, Estimate
from vilbench.metrics.comparison import (
    Comparison,
    compare,
    exact_mcnemar,
    mcnemar,
    minimal_detectable_delta,
    recovered_share,
)
from vilbench.metrics.f1 import Calls, MacroF1, Steps, WeightedF1, macro_f1
from vilbench.metrics.thresholds import Threshold, Thresholds, best_threshold
from vilbench.metrics.verdicts import VerdictCounts, count_verdicts

__all__ = [
    "LEVEL",
    "POOLED_RESAMPLES",
    "Auroc",
    "Bootstrap",
    "Calls",
    "Comparison",
    "Estimate",
    "MacroF1",
    "Separation",
    "Steps",
    "Stratified",
    "Threshold",
    "Thresholds",
    "VerdictCounts",
    "WeightedF1",
    "best_threshold",
    "compare",
    "count_verdicts",
    "exact_mcnemar",
    "macro_f1",
    "mcnemar",
    "minimal_detectable_delta",
    "pooled_auroc",
    "recovered_share",
    "within_auroc",
]
