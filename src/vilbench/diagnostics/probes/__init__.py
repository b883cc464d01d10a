"""Probes: a scorer is asked again about inputs that were changed in a known way.

    rescoring    the same input again: other batch, other neighbours
    order        the candidates in another order
    paraphrase   steps in other words of the same meaning
    boundaries   the same text with other step boundaries
    image        another picture, a blank one, noise
    attack       master keys on wrong solutions

Changed inputs are made from a seed, by pure functions; their scores are kept in the run
beside those of its solutions, and `findings` reads them again without a model.
"""

from vilbench.diagnostics.probes.cases import Case, Deck, Draw, draw_cases
from vilbench.diagnostics.probes.findings import findings
from vilbench.diagnostics.probes.kinds import PROBES, Probe
from vilbench.diagnostics.probes.measures import MEASURES
from vilbench.diagnostics.probes.paying import probe_costs
from vilbench.diagnostics.probes.probing import Work, begun_probes, failed_calls, forecast, probe
from vilbench.diagnostics.probes.records import ProbeFinding

__all__ = [
    "MEASURES",
    "PROBES",
    "Case",
    "Deck",
    "Draw",
    "Probe",
    "ProbeFinding",
    "Work",
    "begun_probes",
    "draw_cases",
    "failed_calls",
    "findings",
    "forecast",
    "probe",
    "probe_costs",
]
