"""What of searched labels is not learnt from: each filter an option, each with its counts.

A filter takes a whole tree away, or labels of single nodes, whose steps stay in the solutions
that go on from them; that of broken branches takes the steps, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import Literal, NamedTuple

from pydantic import Field

from vilbench.collect.labels import LabelledTree
from vilbench.search import NodeRecord, TreeRecord
from vilbench.types import Number, Record, Whole

Solved = Literal["keep", "drop", "drop-always", "drop-never"]
_GONE: Mapping[Solved, tuple[int, ...]] = {
    "keep": (),
    "drop": (0, 1),
    "drop-always": (1,),
    "drop-never": (0,),
}


class FilterConfig(Record):
    """The options; by default broken ends of branches alone are taken away.

    Attributes:
        broken: Steps at which a branch broke off (a policy that failed, a step too long, a
            repetition): solutions end before them, for their value is about the accident.
        solved: Problems that the policy always or never solves from the question on; "drop"
            takes both away. They tell right from wrong steps least.
        min_visits: Fewest visits of a labelled node.
        min_rollouts: Fewest complete continuations of a labelled node that is not finished.
        consensus: Needs a second collection, by a policy of other strength: a label stays
            where the labels of both are at least this, or both are below (weak-strong
            consensus, after Athena-PRM, Wang et al., 2025).
        unmatched: Labels of prefixes that have none in the second collection.
        near_duplicates: Least similarity at which siblings count as one step, see
            `similarity`; the most visited one keeps its label.
        same_value: Most that labels of near duplicates differ by.
        balance: Most labels of the larger kind, low or high, for one of the smaller.
        high: Labels from here on are high.
        seed: Of the balance's draw.
    """

    broken: Literal["drop", "keep"] = "drop"
    solved: Solved = "keep"
    min_visits: Whole = Field(default=0, ge=0)
    min_rollouts: Whole = Field(default=0, ge=0)
    consensus: Number | None = Field(default=None, gt=0, le=1)
    unmatched: Literal["keep", "drop"] = "drop"
    near_duplicates: Number | None = Field(default=None, gt=0, le=1)
    same_value: Number = Field(default=0.1, ge=0, le=1)
    balance: Number | None = Field(default=None, ge=1)
    high: Number = Field(default=0.5, gt=0, le=1)
    seed: Whole = 0


class Filter(NamedTuple):
    """A filter that is turned on; `keep` gives what is left of a tree, None for nothing."""

    name: str
    keep: Callable[[LabelledTree], LabelledTree | None]


Known = Mapping[bytes, float]
"""Labels of a second collection by `identity`."""


def known_labels(trees: Iterable[LabelledTree]) -> Known:
    """What the consensus needs of a second collection."""
    return {identity(tree, node): value for tree in trees for node, value in tree.values.items()}


def chosen(config: FilterConfig, known: Known | None = None) -> tuple[Filter, ...]:
    """The filters that are turned on, in their order; the balance is not among them.

    Args:
        config: The options.
        known: Labels of a second collection; without them there is no consensus.
    """
    return tuple(_chosen(config, known))


def _chosen(config: FilterConfig, known: Known | None) -> Iterator[Filter]:
    if config.broken == "drop":
        yield Filter("broken branches", _unbroken)
    if config.solved != "keep":
        yield Filter(f"solved: {config.solved}", partial(_solved, _GONE[config.solved]))
    if config.min_visits:
        few = partial(_is_rare, config.min_visits)
        yield Filter(f"less than {config.min_visits} visits", partial(_without, few))
    if config.min_rollouts:
        few = partial(_is_unsure, config.min_rollouts)
        yield Filter(f"less than {config.min_rollouts} rollouts", partial(_without, few))
    if config.consensus is not None and known is not None:
        keep = partial(_agreed, known, config.consensus, config.unmatched == "keep")
        yield Filter(f"no consensus at {config.consensus:g}", keep)
    if config.near_duplicates is not None:
        keep = partial(_distinct, config.near_duplicates, config.same_value)
        yield Filter(f"near duplicates from {config.near_duplicates:g}", keep)


def balance(trees: Iterable[LabelledTree], config: FilterConfig) -> Filter | None:
    """The filter that brings low and high labels into balance; it is the last one.

    A label's chance is drawn from the seed, its problem and its prefix: which ones stay does not
    depend on the order of the trees.

    Args:
        trees: All of them, as the other filters leave them.
        config: The options; None comes back where they ask for no balance.
    """
    if config.balance is None:
        return None
    draws: dict[bool, list[bytes]] = {False: [], True: []}
    for tree in trees:
        for node, value in tree.values.items():
            draws[value >= config.high].append(_draw(config.seed, tree, node))
    few, many = sorted(draws, key=lambda kind: len(draws[kind]))
    kept = int(len(draws[few]) * config.balance)
    cut = None if kept >= len(draws[many]) else sorted(draws[many])[kept]

    def keep(tree: LabelledTree) -> LabelledTree:
        if cut is None:
            return tree
        return tree.without(
            {
                node
                for node, value in tree.values.items()
                if (value >= config.high) is many and _draw(config.seed, tree, node) >= cut
            }
        )

    return Filter(f"balance, {config.balance:g} to one", keep)


def solved_share(tree: TreeRecord) -> Fraction | None:
    """How often a problem is solved from its question on; None where that was not seen.

    By the root's own continuations where there are any, else by the finished leaves.
    """
    root = tree.nodes[0]
    if root.rollouts:
        return Fraction(root.right, root.rollouts)
    ends = [node.correct for node in tree.nodes if node.correct is not None]
    return Fraction(sum(ends), len(ends)) if ends else None


_WORD = re.compile(r"[^\W\d_]+")
_PUNCTUATION = re.compile(r"[.,;:!?](?=\s|$)")


def similarity(one: str, other: str) -> float:
    """Share of common words of two steps, in [0, 1].

    Words count without their case, and each once. What is no word decides alone: steps whose
    numbers, signs or single letters differ, in value or in order, are as different as can be,
    for "2 + 3 = 5" and "2 + 3 = 6" share nearly all of their text.
    """
    if _exact(one) != _exact(other):
        return 0.0
    words, others = _words(one), _words(other)
    return len(words & others) / len(words | others) if words | others else 1.0


def identity(tree: LabelledTree, node: int) -> bytes:
    """SHA-256 that names a node by its problem and its steps, whatever tree it stands in.

    A step that ends the solution and the same step with more to come are two.
    """
    name = [tree.tree.problem_id, tree.prefix(node), tree.nodes[node].finished]
    return hashlib.sha256(json.dumps(name).encode()).digest()


def _draw(seed: int, tree: LabelledTree, node: int) -> bytes:
    return hashlib.sha256(f"balance/{seed}/".encode() + identity(tree, node)).digest()


def _words(step: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in _WORD.findall(step) if len(word) > 1)


def _exact(step: str) -> str:
    """Everything but words, blanks and the punctuation of sentences."""
    bare = _PUNCTUATION.sub(" ", step)
    rest = _WORD.sub(lambda word: word[0] if len(word[0]) == 1 else " ", bare)
    return " ".join(rest.split())


def _without(is_gone: Callable[[NodeRecord], bool], tree: LabelledTree) -> LabelledTree:
    return tree.without({node.node for node in tree.labelled() if is_gone(node)})


def _unbroken(tree: LabelledTree) -> LabelledTree:
    return tree.pruned({node.node for node in tree.nodes.values() if node.reason})


def _is_rare(visits: int, node: NodeRecord) -> bool:
    return node.visits < visits


def _is_unsure(rollouts: int, node: NodeRecord) -> bool:
    return not node.finished and node.rollouts < rollouts


def _solved(gone: tuple[int, ...], tree: LabelledTree) -> LabelledTree | None:
    return None if solved_share(tree.tree) in gone else tree


def _agreed(known: Known, line: float, keep_unmatched: bool, tree: LabelledTree) -> LabelledTree:
    gone: set[int] = set()
    for node, value in tree.values.items():
        other = known.get(identity(tree, node))
        agreed = keep_unmatched if other is None else (other >= line) == (value >= line)
        if not agreed:
            gone.add(node)
    return tree.without(gone)


def _distinct(line: float, same_value: float, tree: LabelledTree) -> LabelledTree:
    gone: set[int] = set()
    for siblings in tree.children.values():
        kept: list[NodeRecord] = []
        labelled = [tree.nodes[node] for node in siblings if node in tree.values]
        for node in sorted(labelled, key=lambda node: (-node.visits, node.node)):
            value = tree.values[node.node]
            if any(
                abs(value - tree.values[one.node]) <= same_value
                and similarity(node.step, one.step) >= line
                for one in kept
            ):
                gone.add(node.node)
            else:
                kept.append(node)
    return tree.without(gone)
