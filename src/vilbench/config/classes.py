"""Names of what a recipe may build, and their classes, which are imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from vilbench.errors import RecipeError

_CLASSES: Mapping[str, str] = {
    "engine/local": "vilbench.engines.local:LocalEngine",
    "engine/openai": "vilbench.engines.openai.engine:OpenAIEngine",
    "openai/images": "vilbench.engines.openai.pictures:ImagePolicy",
    "openai/patience": "vilbench.engines.openai.attempts:Patience",
    "openai/price": "vilbench.engines.openai.money:TokenPrice",
    "scorer/judge": "vilbench.scorers.judge:JudgeScorer",
    "scorer/likelihood": "vilbench.scorers.likelihood:LikelihoodScorer",
    "scorer/prm": "vilbench.scorers.prm:PrmScorer",
    "scorer/remote": "vilbench.scorers.remote:RemoteScorer",
    "remote/look": "vilbench.scorers.remote:look",
    "prm/trained": "vilbench.prm.folder:load",
    "prm/untrained": "vilbench.prm.folder:untrained",
    "prm/scoring": "vilbench.prm.scoring:PrmScoring",
}

_LOCAL_ENGINE = "engines of kind local need {}: pip install 'vilbench[local]'"
_PRM = "scorers of kind prm need {}: pip install 'vilbench[local]'"
_REMOTE = "scorers of kind remote need {}: pip install 'vilbench[openai]'"
_LACKING: Mapping[str, str] = {
    "engine/local": _LOCAL_ENGINE,
    "engine/openai": "engines of kind openai need {}: pip install 'vilbench[openai]'",
    "scorer/remote": _REMOTE,
    "remote/look": _REMOTE,
    "prm/trained": _PRM,
    "prm/untrained": _PRM,
    "prm/scoring": _PRM,
}
"""What is said where a library of an extra is not installed."""


def load_class(name: str) -> Any:
    """What `_CLASSES` has under a name.

    Raises:
        RecipeError: A library that it needs is not installed.
    """
    module, _, attribute = _CLASSES[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if name not in _LACKING:
            raise
        raise RecipeError(_LACKING[name].format(error.name)) from error
