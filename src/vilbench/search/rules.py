"""The searches by their settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vilbench.search import again, guided, omega, rest, rollouts
from vilbench.search.again import Again
from vilbench.search.guided import Guided
from vilbench.search.omega import Omega
from vilbench.search.requests import Search
from vilbench.search.rest import RestMcts
from vilbench.search.rollouts import Rollouts
from vilbench.search.tree import Tree

AnySettings = RestMcts | Rollouts | Omega | Again | Guided
Settings = Annotated[AnySettings, Field(discriminator="rule")]
"""Settings of a search; `rule` tells which."""


def begin(tree: Tree, settings: AnySettings) -> Search:
    """The search that grows an empty tree of the same rule.

    Raises:
        ValueError: The tree is of another rule, or has grown already.
    """
    if tree.rule != settings.rule or len(tree.nodes) != 1:
        raise ValueError(f"a search by {settings.rule} begins with an empty tree of its own")
    if isinstance(settings, RestMcts):
        return rest.search(tree, settings)
    if isinstance(settings, Rollouts):
        return rollouts.search(tree, settings)
    if isinstance(settings, Guided):
        return guided.search(tree, settings)
    if isinstance(settings, Again):
        return again.search(tree, settings)
    return omega.search(tree, settings)
