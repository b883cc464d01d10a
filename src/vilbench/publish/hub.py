"""A publication on the hub: one commit of its files, or an error that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vilbench.backbone import OFFLINE_BY_DEFAULT
from vilbench.errors import InputError
from vilbench.publish.publication import Publication

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]{0,94}[\w])?")


@dataclass(frozen=True)
class Target:
    """Where to.

    Attributes:
        repository: "owner/name".
        private: Whether a repository that is made for it is private.
        revision: Branch; made from the main one where it is not there. None for the main one.
    """

    repository: str
    private: bool = True
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuses what is no name.

        Raises:
            InputError: It is not OWNER/NAME.
        """
        if not _NAME.fullmatch(self.repository) or ".." in self.repository:
            shown = self.repository[:80]
            raise InputError(f"'{shown}' is no name such as owner/name", field="--to-hub")


def upload(publication: Publication, target: Target, api: HfApi | None = None) -> str:
    """Makes the repository where it is missing, and uploads all files as one commit.

    Files that an earlier commit left there and that this one has not stay.

    Args:
        publication: What.
        target: Where to.
        api: Whose account; the user's own, by `hf auth login` or `$HF_TOKEN`, when None.

    Returns:
        The address of the commit.

    Raises:
        InputError: huggingface_hub is not installed, there is no network or no token, or the hub
            refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, constants
    except ModuleNotFoundError as error:
        raise InputError(
            "the hub needs huggingface_hub: pip install 'vilbench[datasets]'", field="--to-hub"
        ) from error
    with _reachable(constants), _refusals(target):
        hub = api or HfApi(library_name="vilbench")
        kind = publication.repo_type
        hub.create_repo(target.repository, repo_type=kind, private=target.private, exist_ok=True)
        if target.revision is not None:
            hub.create_branch(
                target.repository, branch=target.revision, repo_type=kind, exist_ok=True
            )
        done = hub.create_commit(
            target.repository,
            [
                CommitOperationAdd(
                    one.name, str(one.source) if isinstance(one.source, Path) else one.source
                )
                for one in publication.entries
            ],
            commit_message=publication.message,
            repo_type=kind,
            revision=target.revision,
        )
    return str(done.commit_url)


@contextmanager
def _reachable(constants: Any) -> Iterator[None]:
    """Within it the hub can be reached, unless the user has ruled it out."""
    before = constants.HF_HUB_OFFLINE
    if OFFLINE_BY_DEFAULT:
        constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _refusals(target: Target) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Hub, network and file errors come as classes of many libraries.
        told = _words(error, target)
        raise InputError(f"{target.repository}: {told}", field="--to-hub") from error


def _words(error: Exception, target: Target) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    owner = target.repository.partition("/")[0]
    said = getattr(error, "server_message", None) or ""
    more = f" (the hub says: {said[:200]})" if said else ""
    if status == 401:
        return (
            "the hub does not accept the token, or there is none: 'hf auth login', or a token "
            f"that may write in HF_TOKEN{more}"
        )
    if status == 403:
        return f"the token may not write there: it needs the right to write to {owner}{more}"
    if status == 404:
        return f"there is no such repository or branch, or the token may not see it{more}"
    if status is not None:
        return f"the hub answers with status {status}{more}"
    name = type(error).__name__
    if name == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE rules the hub out; without it the upload can begin"
    first = next(iter(str(error).strip().splitlines()), "")[:200]
    return f"the hub cannot be reached or the upload broke off: {name}: {first}"
