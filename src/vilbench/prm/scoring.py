"""Scores of all steps of all candidate solutions of one problem: four ways, one result.

The candidates of a problem share its images and its question. `per-prefix` and
`per-candidate` are the plain ways, by the model's own forward over whole sequences; they are
the reference. `shared` computes images and prompt once and all candidates on top, packed
without pads; `tree` computes steps that several candidates begin with once, too. None runs
the language-model head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch

from vilbench.backbone.agreement import is_proven
from vilbench.backbone.memory import ran_out
from vilbench.backbone.tokens import Encoded
from vilbench.errors import EngineError
from vilbench.prm.agreement import check_agreement
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.forwards import Forwards, Reading, ScoringCounts
from vilbench.prm.layout import Bundle
from vilbench.prm.tokens import EncodedSteps
from vilbench.types import Image

Way = Literal["per-prefix", "per-candidate", "shared", "tree"]


@dataclass(frozen=True)
class Scored:
    """What one call gives.

    Attributes:
        values: For every candidate one value per step; None for steps that were dropped
            because the input was too long.
        lengths: Tokens of every candidate with its prompt, as if it were scored alone.
        computed: Of every candidate, tokens that were computed for it and for none before it;
            together all that were computed for the question. Where it came twice in a call,
            each token is one candidate's of either.
        counts: Work done for them, and for all that were scored with them.
    """

    values: tuple[tuple[float | None, ...], ...]
    lengths: tuple[int, ...]
    computed: tuple[int, ...]
    counts: ScoringCounts


class Question(Protocol):
    """A question and its candidates; `Asked` is one."""

    @property
    def parts(self) -> Sequence[str | Image]:
        """How it is shown."""
        ...

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """Steps of each."""
        ...


class Asked(NamedTuple):
    """A question, as it is shown, and the steps of each candidate."""

    parts: Sequence[str | Image]
    candidates: Sequence[Sequence[str]]


_NOTHING = Reading(np.empty(0, dtype=np.float32), 0)


class PrmScoring:
    """Scores candidates by a reward model; not thread-safe.

    What is computed of a question is kept for the next time: after a change of weights, `forget`.

    Args:
        loaded: The reward model.
        way: How; the values are the same but for rounding.
        max_batch_tokens: Most tokens of a forward (a prompt or a single candidate may exceed
            it); by the device when None. Halved for good when memory runs out.
        recall: Whether what is computed of candidates is kept, too, for those that begin alike
            in later calls, in the way "tree". Values are then the same but for rounding, which
            depends on what was scored before.

    Raises:
        CheckpointError: The model's family is not supported, or not in this way.
        ValueError: The budget is below 1.
    """

    def __init__(
        self,
        loaded: LoadedPrm,
        way: Way = "tree",
        max_batch_tokens: int | None = None,
        *,
        recall: bool = False,
    ) -> None:
        self.loaded = loaded
        self.way: Way = way
        self.encoder = loaded.encoder()
        pixels = self.encoder.encoder.pixels
        recalls = recall and way == "tree"
        self._forwards = Forwards(loaded.model, pixels, max_batch_tokens, recall=recalls)
        if way in ("shared", "tree") and not is_proven(loaded.model.backbone):
            check_agreement(loaded.model, self.encoder.encoder)

    def score(self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]) -> Scored:
        """Values of all steps.

        Args:
            parts: The question.
            candidates: The steps of each candidate; there may be none.

        Raises:
            InputError: The input is too long, or an image cannot be read.
            EngineError: Memory ran out for a single candidate, a value is not a finite
                number, or a text is not valid Unicode.
        """
        return self.score_many([Asked(parts, candidates)])[0]

    @torch.inference_mode()
    def score_many(self, questions: Sequence[Question]) -> list[Scored]:
        """Values of the candidates of several questions, packed together where the way allows.

        They are those of `score`, but for rounding; a question that comes twice is computed
        once. One question's fault is that of all: score them one by one then.

        Raises:
            InputError: As `score` does.
            EngineError: As `score` does.
        """
        encoded = [self.encoder.encode_all(one.parts, one.candidates) for one in questions]
        todo = [one for one in chain(*encoded) if one.ends]
        self._forwards.counts = counts = ScoringCounts()
        try:
            found = iter(self._read(todo))
        except Exception as error:
            if not ran_out(error):
                raise
            raise EngineError("there is not enough memory for a single candidate") from error
        scored = []
        for some in encoded:
            values, computed = [], []
            for k, one in enumerate(some):
                read = next(found) if one.ends else _NOTHING
                own = read.values[list(one.ends)]
                computed.append(read.computed)
                if not np.isfinite(own).all():
                    raise EngineError(f"candidate {k} has a value that is not a finite number")
                values.append(one.spread([float(value) for value in own]))
            lengths = tuple(len(one.prompt.ids) + len(one.ids) for one in some)
            scored.append(Scored(tuple(values), lengths, tuple(computed), counts))
        return scored

    def forget(self) -> None:
        """Lets go what is kept of questions, in case they are scored again."""
        self._forwards.forget()

    def _read(self, todo: Sequence[EncodedSteps]) -> list[Reading]:
        """What is read after the ids of each candidate that has steps; step ends count."""
        if self.way in ("shared", "tree"):
            return self._packed(todo)
        if self.way == "per-candidate":
            return [self._forwards.whole(one.prompt, one.ids) for one in todo]
        return [self._prefixes(one) for one in todo]

    def _prefixes(self, one: EncodedSteps) -> Reading:
        """What is read at the end of each prefix by itself."""
        values = np.zeros(len(one.ids), dtype=np.float32)
        computed = 0
        for end in one.ends:
            prefix = self._forwards.whole(one.prompt, one.ids[: end + 1])
            values[end] = prefix.values[end]
            computed += prefix.computed
        return Reading(values, computed)

    def _packed(self, todo: Sequence[EncodedSteps]) -> list[Reading]:
        """What is read after the ids of each; questions that are the same are one."""
        places: dict[Encoded, list[int]] = {}
        for place, one in enumerate(todo):
            places.setdefault(one.prompt, []).append(place)
        if not places:
            return []
        bundles = [
            Bundle(prompt, [todo[place].ids for place in some]) for prompt, some in places.items()
        ]
        read = self._forwards.packed(bundles, share=self.way == "tree")
        found = dict(zip(chain(*places.values()), chain(*read), strict=True))
        return [found[place] for place in range(len(todo))]
