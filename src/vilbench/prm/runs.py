"""Token sequences as runs: what each adds to what others have computed already.

The sequences stand behind one prompt, which is a run of its own. Put in order, each sequence
adds a run: its tokens from where it leaves the sequence before. All runs, one behind the other,
are the packed order, in which every distinct beginning occurs once and whatever builds on a run
follows it without a gap. So the tokens that a run's descendants see of it are one block, seen
whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vilbench.backbone.prefixes import common


class Run(NamedTuple):
    """Tokens that one sequence adds.

    Attributes:
        sequence: Which one; None for a prompt.
        skip: How many of its tokens stand in earlier runs.
        begin: Packed index of its first token.
        end: Behind its last one; `begin` for a run whose keys and values are known.
        parent: Run that it leaves; None if it stands on no other.
        shared: How many tokens of the parent it builds on.
        reach: Packed index behind the last token that builds on it, or on its own end.
        known: Of a run whose keys and values are known, how many tokens it has.
    """

    sequence: int | None
    skip: int
    begin: int
    end: int
    parent: int | None
    shared: int
    reach: int
    known: int = 0


@dataclass(frozen=True)
class Packing:
    """Runs of a set of sequences.

    Attributes:
        runs: None of them is empty, save those that are known.
        places: For every sequence, the packed index of each of its tokens that are not known.
        tokens: How many there are in all.
    """

    runs: tuple[Run, ...]
    places: tuple[npt.NDArray[np.int64], ...]
    tokens: int

    def chunks(self, budget: int, first: int = 0) -> Iterator[range]:
        """Consecutive runs of at most `budget` tokens together; one run may exceed it.

        Args:
            budget: At least 1.
            first: Index of the first run.
        """
        for k, run in enumerate(self.runs):
            if k > first and run.end - self.runs[first].begin > budget:
                yield range(first, k)
                first = k
        if len(self.runs) > first:
            yield range(first, len(self.runs))


def pack(sequences: Sequence[Sequence[int]], *, share: bool) -> Packing:
    """The runs of token sequences.

    Args:
        sequences: Token ids.
        share: Whether beginnings that several sequences have in common occur once. If not,
            every sequence is a run of its own, in the order of their lengths.
    """
    arrays = [np.asarray(ids, dtype=np.int64) for ids in sequences]
    if share:
        # The longer of two that begin alike goes first, so that the other adds nothing.
        order = sorted(range(len(arrays)), key=lambda i: (*sequences[i], _LAST))
    else:
        order = sorted(range(len(arrays)), key=lambda i: len(arrays[i]))
    runs: list[Run] = []
    places = [np.empty(0, dtype=np.int64)] * len(arrays)
    path: list[int] = []
    total = 0
    previous: int | None = None
    for i in order:
        skip = 0
        if share and previous is not None:
            skip = common(arrays[previous], arrays[i])
            places[i] = places[previous][:skip]
        previous = i
        added = len(arrays[i]) - skip
        if not added:
            continue
        while path and runs[path[-1]].skip >= skip:
            _close(runs, path.pop(), total)
        parent = path[-1] if path else None
        shared = skip - runs[parent].skip if parent is not None else 0
        runs.append(Run(i, skip, total, total + added, parent, shared, 0))
        path.append(len(runs) - 1)
        places[i] = np.append(places[i], np.arange(total, total + added))
        total += added
    for k in path:
        _close(runs, k, total)
    return Packing(tuple(runs), tuple(places), total)


def beyond(packing: Packing, known: Sequence[int]) -> Packing:
    """The packing without what is known: beginnings of runs become runs of no tokens.

    Args:
        packing: With beginnings shared; without a prompt.
        known: How many of each sequence's first tokens are known: as many as its longest
            beginning that is known of any sequence.
    """
    firsts = [
        min(max(known[run.sequence], run.skip), _stop(run))
        for run in packing.runs
        if run.sequence is not None
    ]
    is_new = np.ones(packing.tokens, dtype=np.int64)
    for run, first in zip(packing.runs, firsts, strict=True):
        is_new[run.begin : run.begin + first - run.skip] = 0
    moved = np.concatenate([[0], np.cumsum(is_new)])
    runs: list[Run] = []
    # Of each run, by its old index: where its known and its new part are now.
    parts: list[tuple[int | None, int | None]] = []
    for run, first in zip(packing.runs, firsts, strict=True):
        begin, end, reach = (int(moved[place]) for place in (run.begin, run.end, run.reach))
        parent, shared = run.parent, run.shared
        if parent is not None:
            above, under = parts[parent]
            if above is not None and run.skip <= firsts[parent]:
                # The new part of the parent is no part of what this one, or any later one, sees.
                if under is not None:
                    runs[under] = runs[under]._replace(reach=min(runs[under].reach, begin))
                parent = above
            elif under is not None:
                shared = run.skip - max(firsts[parent], packing.runs[parent].skip)
                parent = under
        above = under = None
        if first > run.skip:
            above = len(runs)
            count = first - run.skip
            runs.append(Run(run.sequence, run.skip, begin, begin, parent, shared, reach, count))
            parent, shared = above, count
        if begin < end:
            under = len(runs)
            runs.append(Run(run.sequence, first, begin, end, parent, shared, reach))
        parts.append((above, under))
    places = tuple(moved[place[count:]] for place, count in zip(packing.places, known, strict=True))
    return Packing(tuple(runs), places, int(moved[-1]))


def _stop(run: Run) -> int:
    """Behind a run's last token, as an index of its sequence."""
    return run.skip + run.end - run.begin


def behind(prompt: int, packing: Packing, *, known: bool = False) -> Packing:
    """The packing with a prompt before it, on which all of its runs stand.

    Args:
        prompt: Its tokens.
        packing: Of the sequences without it.
        known: Whether its keys and values are; then none of its tokens is in the packed order.
    """
    added = 0 if known else prompt
    reach = packing.tokens + added
    first = Run(None, 0, 0, added, None, 0, reach, prompt if known else 0)
    rest = (
        run._replace(
            begin=run.begin + added,
            end=run.end + added,
            parent=0 if run.parent is None else run.parent + 1,
            shared=prompt if run.parent is None else run.shared,
            reach=run.reach + added,
        )
        for run in packing.runs
    )
    places = tuple(place + added for place in packing.places)
    return Packing((first, *rest), places, packing.tokens + added)


def joined(packings: Sequence[Packing]) -> Packing:
    """Packings of sequences that have nothing to do with each other, one behind the other."""
    runs: list[Run] = []
    places: list[npt.NDArray[np.int64]] = []
    total = 0
    for one in packings:
        first, sequences = len(runs), len(places)
        runs += [
            run._replace(
                sequence=None if run.sequence is None else run.sequence + sequences,
                begin=run.begin + total,
                end=run.end + total,
                parent=None if run.parent is None else run.parent + first,
                reach=run.reach + total,
            )
            for run in one.runs
        ]
        places += [place + total for place in one.places]
        total += one.tokens
    return Packing(tuple(runs), tuple(places), total)


_LAST = 2**63


def _close(runs: list[Run], k: int, reach: int) -> None:
    runs[k] = runs[k]._replace(reach=reach)
