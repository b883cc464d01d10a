"""A reward model's folder as a publication."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from pydantic import ValidationError

from vilbench.errors import InputError
from vilbench.evaluate.scoring import score_key
from vilbench.evaluate.stages import noted
from vilbench.publish.evaluation import Benchmark, Figure, eval_results, figures
from vilbench.publish.hub import Target
from vilbench.publish.model_card import Training, card
from vilbench.publish.privacy import Screen
from vilbench.publish.provenance import provenance, shown_of
from vilbench.publish.publication import CARD, Entry, Publication, card_entry, left_of
from vilbench.scorers.prm import PrmScorer, Scoring
from vilbench.store.run import Run

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_CONFIGURATIONS = (
    *("prm.json", "config.json", "generation_config.json", "tokenizer_config.json"),
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
)
_AS_THEY_ARE = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json"),
    *("special_tokens_map.json", "chat_template.jinja", "chat_template.json"),
)
"""Files of a model by their names: what else lies in its folder, be it JSON, is not published."""

_TRAINING: Final = "training.json"

_REASONS = {
    CARD: "a new card is written",
    "training_args.bin": "pickled arguments",
    "log.jsonl": "log of the training",
    "checkpoints/": "state of the training",
    "best/": "state of the training",
    "tensorboard/": "log of the training",
}


def model(
    folder: Path,
    screen: Screen,
    *,
    title: str,
    license: str | None = None,  # noqa: A002 - the card's word
    training: Path | None = None,
    runs: Sequence[Path] = (),
    benchmark: Benchmark | None = None,
    target: Target | None = None,
) -> Publication:
    """A reward model with its card.

    Args:
        folder: As `vilbench.prm.folder.save` leaves it.
        screen: For its configurations and its card.
        title: Heading of the card.
        license: For the card.
        training: Folder of its training, for the card.
        runs: Runs whose figures of this very model stand in the card.
        benchmark: What their problems are on the hub.
        target: Where on the hub it will be, for the card.

    Raises:
        CheckpointError: It is no reward model's folder, or holds what must not be shared as a
            model: code, pickled weights alone, damaged files.
        InputError: The manifest of its training is damaged or of another model, or a run did
            not use this model.
        RunError: A run cannot be read, or has no results.
    """
    # Torch stays out of the other publications.
    from vilbench.backbone.checkpoint import fingerprint
    from vilbench.prm.folder import read_config

    config = read_config(folder)
    named = config.backbone.model_copy(update={"name": screen.told(config.backbone.name)})
    config = config.model_copy(update={"backbone": named})
    fingerprint(folder)  # for its checks
    trained = None if training is None else _training(training / _TRAINING, screen)
    if training is not None and trained is not None and trained.fingerprint != config.training:
        raise InputError("is the training of another model", file=training / _TRAINING)
    shown: list[Figure] = []
    results: dict[str, bytes] = {}
    for place in runs:
        with Run.read(place) as run:
            found, date = _figures(run, folder, screen)
        for name, data in eval_results(found, benchmark, date).items():
            if name in results:
                raise InputError("two runs are over the same problems", file=place)
            results[name] = data
        shown += found
    text = card(config, shown, title=title, license=license, training=trained, target=target)
    known = (*_weights(folder), *_CONFIGURATIONS, *_AS_THEY_ARE)
    names = sorted(name for name in known if (folder / name).is_file())
    entries = [
        card_entry(screen.text(text)),
        *(Entry(name, data) for name, data in results.items()),
        *(_entry(folder / name, screen) for name in names),
    ]
    remarks = [*screen.summary()]
    if license is None:
        remarks.append("the card names no license: --license, such as apache-2.0")
    if not shown:
        remarks.append("the card has no figures: --results RUN takes those of a run")
    taken = {folder / name for name in names}
    return Publication(
        "model",
        "reward model",
        tuple(entries),
        left_of(folder, taken, _REASONS),
        tuple(remarks),
        f"reward model {(config.training or 'untrained')[:12]}",
    )


def _weights(folder: Path) -> list[str]:
    """Files of the weights, as the loader takes them; the folder has been checked."""
    if not (folder / _INDEX).is_file():
        return [_SINGLE]
    listed = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
    return [_INDEX, *sorted(set(listed))]


def _entry(path: Path, screen: Screen) -> Entry:
    """A file as it is; paths that a library left in a configuration are shortened."""
    if path.name not in _CONFIGURATIONS:
        return Entry(path.name, path)
    text = path.read_text(encoding="utf-8")
    cleaned = _whole_paths(json.loads(text), screen)
    if cleaned == json.loads(text):
        return Entry(path.name, path)
    return Entry(path.name, json.dumps(cleaned, indent=2, ensure_ascii=False).encode() + b"\n")


def _whole_paths(value: object, screen: Screen) -> object:
    """Values that are a path as a whole; what merely holds one, as a template may, stays."""
    if isinstance(value, dict):
        return {key: _whole_paths(one, screen) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole_paths(one, screen) for one in value]
    if isinstance(value, str) and len(value) < 4096 and "\n" not in value:
        return screen.told(value) if value[:1] in ("/", "~") or value[1:3] == ":\\" else value
    return value


def _training(path: Path, screen: Screen) -> Training:
    from vilbench.training.manifest import TrainManifest

    try:
        manifest = TrainManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError) as error:
        raise InputError("the manifest of the training cannot be read", file=path) from error
    return Training(
        fingerprint=manifest.fingerprint,
        recipe=screen.recipe(dict(manifest.recipe)),
        data={screen.told(name): digest for name, digest in manifest.data.items()},
        rows=manifest.rows,
        dev_rows=manifest.dev_rows,
        rejected=len(manifest.rejected),
        versions=manifest.versions,
    )


def _figures(run: Run, folder: Path, screen: Screen) -> tuple[tuple[Figure, ...], str]:
    """What a run shows of the model in a folder, and when the run began.

    Raises:
        InputError: No scorer of the run is this model.
    """
    from vilbench.prm.folder import fingerprints

    begun = noted(run)
    keys = {
        name: {
            # For its name alone: nothing is scored, so nothing is loaded.
            score_key(PrmScorer(cast("Scoring", None), one, name), begun.sample_key)
            for one in fingerprints(folder)
        }
        for name in begun.score_keys
    }
    mine = [name for name, key in begun.score_keys.items() if key in keys[name]]
    if not mine:
        scorers = ", ".join(begun.score_keys) or "none"
        raise InputError(
            f"no scorer of the run ({scorers}) is the model in {folder.name}", file=run.folder
        )
    origin, shown = provenance(run, screen), shown_of(run)
    return tuple(one for name in mine for one in figures(shown, origin, name)), origin.created
