"""Prompts and the sequences behind them, laid out for one packed forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vilbench.backbone.prefixes import Stem
from vilbench.backbone.recall import Recalled
from vilbench.backbone.tokens import Encoded
from vilbench.prm.runs import Packing, behind, beyond, joined, pack
from vilbench.prm.trunk import KeyValue

Values = npt.NDArray[np.float32]
"""Values after tokens."""

Ints = npt.NDArray[np.int64]


class Bundle(NamedTuple):
    """A prompt and the sequences that stand behind it; there is at least one."""

    prompt: Encoded
    sequences: Sequence[Sequence[int]]


class KnownPrompt(NamedTuple):
    """What is kept of a prompt.

    Attributes:
        states: Keys and values of every layer.
        shift: What the position of a token behind its images is more than its index.
    """

    states: list[KeyValue]
    shift: int


class NewPrompt(NamedTuple):
    """A prompt that is to be computed.

    Attributes:
        encoded: The prompt.
        positions: `[A, P]` of its tokens.
        shift: As in `KnownPrompt`.
    """

    encoded: Encoded
    positions: Ints
    shift: int


@dataclass
class Layout:
    """A bundle, or several, in packed order.

    Attributes:
        packing: Of prompts and sequences.
        ids: `[T]`, the tokens that are to be computed.
        positions: `[A, T]` of these.
        prompts: Prompts that are to be computed, by the index of their run.
        kept: Keys and values of runs that are known, likewise.
        stems: The sequences, told apart from those of other prompts.
        known: Values of each sequence's first tokens, where those are known.
        computed: Tokens, of its prompt too, that are to be computed for each sequence.
    """

    packing: Packing
    ids: Ints
    positions: Ints
    prompts: dict[int, NewPrompt] = field(default_factory=dict)
    kept: dict[int, list[KeyValue]] = field(default_factory=dict)
    stems: list[Stem] = field(default_factory=list)
    known: list[Values] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)


def stems_of(bundle: Bundle) -> list[Stem]:
    """Its sequences, by which what is known of them is found."""
    return [Stem(tuple(ids), len(ids), bundle.prompt) for ids in bundle.sequences]


def lay_out(
    bundle: Bundle,
    prompt: KnownPrompt | NewPrompt,
    stems: list[Stem],
    recalled: Sequence[Recalled],
    axes: int,
    *,
    share: bool,
) -> Layout:
    """The packed order of a bundle.

    Args:
        bundle: The prompt with its sequences.
        prompt: The same prompt, computed before or not.
        stems: The sequences.
        recalled: What is known of each: keys and values `[2 x layers, K, T, D]`, and values
            `[T, 1]`; nothing where beginnings are not shared.
        axes: A, how many positions a token has.
        share: Whether what sequences begin with in common is computed once.
    """
    length, sequences = len(bundle.prompt.ids), bundle.sequences
    packing = pack(sequences, share=share)
    if any(one.reach for one in recalled):
        packing = beyond(packing, [one.reach for one in recalled])
    packing = behind(length, packing, known=isinstance(prompt, KnownPrompt))
    ids: list[Sequence[int]] = []
    positions: list[Ints] = []
    computed = [0] * len(sequences)
    computed[0] = packing.runs[0].end
    kept: dict[int, list[KeyValue]] = {}
    if isinstance(prompt, KnownPrompt):
        kept[0] = prompt.states
    else:
        ids.append(bundle.prompt.ids)
        positions.append(prompt.positions)
    for k, run in enumerate(packing.runs):
        if run.sequence is None:
            continue
        count = run.end - run.begin
        computed[run.sequence] += count
        ids.append(sequences[run.sequence][run.skip : run.skip + count])
        first = length + run.skip + prompt.shift
        positions.append(np.tile(np.arange(first, first + count), (axes, 1)))
        if run.known:
            states, _ = recalled[run.sequence].joined(run.skip, run.skip + run.known)
            pairs = zip(states[::2], states[1::2], strict=True)
            kept[k] = [KeyValue(*pair) for pair in pairs]
    return Layout(
        packing,
        np.concatenate([np.empty(0, dtype=np.int64), *map(np.asarray, ids)]).astype(np.int64),
        np.concatenate([np.empty((axes, 0), dtype=np.int64), *positions], axis=1),
        {0: prompt} if isinstance(prompt, NewPrompt) else {},
        kept,
        stems,
        [_values(one) for one in recalled],
        computed,
    )


def together(layouts: Sequence[Layout]) -> Layout:
    """Layouts of bundles that have nothing to do with each other, one behind the other."""
    packing = joined([one.packing for one in layouts])
    ids = np.concatenate([one.ids for one in layouts])
    whole = Layout(packing, ids, np.concatenate([one.positions for one in layouts], axis=1))
    runs = 0
    for one in layouts:
        whole.prompts |= {runs + k: prompt for k, prompt in one.prompts.items()}
        whole.kept |= {runs + k: states for k, states in one.kept.items()}
        whole.stems += one.stems
        whole.known += one.known
        whole.computed += one.computed
        runs += len(one.packing.runs)
    return whole


def _values(recalled: Recalled) -> Values:
    """`[reach]`, the values that are known."""
    parts = [values[:, 0].numpy() for _, values in recalled.states]
    known: Values = np.concatenate([np.empty(0, dtype=np.float32), *parts])[: recalled.reach]
    return known
