"""Where the files of a data set are: a folder, or a zip archive that is never unpacked.

Names come from data and are hostile: a folder is left by no path, an archive with a member
that leads out of it is refused as a whole, and no member is read beyond its limit.
"""

from __future__ import annotations

import fnmatch
import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, Protocol

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.images import DEFAULT_LIMITS
from vilbench.problems.files import checked_image, read_image
from vilbench.problems.rows import ImageName, shown
from vilbench.types import Image

_MOST_FILES = 2_000_000
_LONGEST_PATH = 4096
_MOST_TABLE_BYTES = 4_000_000_000
_PLAIN_TABLE_BYTES = 50_000_000
_MOST_GROWTH = 100
"""A table beyond `_PLAIN_TABLE_BYTES` is a bomb if it is so many times its packed size; tables
with pictures hardly shrink, and text does by 10 or so."""

_CHUNK = 1_048_576
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    OverflowError,
)
"""What zipfile raises where bytes of an archive are not what they were."""

_UNREADABLE = (OSError, KeyError, ValueError, NotImplementedError, RuntimeError)


class Storage(Protocol):
    """A folder or an archive."""

    @property
    def path(self) -> Path:
        """The folder, or the archive."""
        ...

    def matching(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Names of the files that match the first of `patterns` that any file matches."""
        ...

    def place(self, name: str) -> str:
        """A file as messages name it."""
        ...

    def opened(self, name: str) -> BinaryIO:
        """A file, to be read from its beginning, seekable.

        Raises:
            InputError: It cannot be read.
        """
        ...

    def picture(self, name: ImageName, notes: list[str]) -> Image:
        """An image file, once its bytes have proved to be an image.

        Args:
            name: The path in a row.
            notes: Takes what was converted.

        Raises:
            ProblemError: The path is no plain relative path.
            ImageError: There is no such image.
        """
        ...


def storage(path: Path) -> Storage:
    """A folder or a `.zip` file; for another file the folder that it is in.

    Raises:
        InputError: There is none, or the archive is unusable.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise InputError("no such file or folder", file=path)
    return Archive(path) if path.suffix.lower() == ".zip" else Folder(path.parent)


def _first_matching(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    for pattern in patterns:
        # Data sets are kept in subfolders as often as not.
        found = [n for n in names if fnmatch.fnmatchcase(f"/{n}", f"*/{pattern}")]
        if found:
            return tuple(found)
    return ()


@dataclass(frozen=True)
class Folder:
    """Files below a folder; pictures may be in archives beside them, such as `images.zip`."""

    path: Path

    def matching(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """See `Storage`; hidden files and folders are left out.

        Where nothing below it matches, the folder may itself be the one that a pattern names.
        """
        found = _first_matching(self._names, patterns)
        if found:
            return found
        within = f"{self.path.resolve().name}/"
        direct = [within + name for name in self._names if "/" not in name]
        return tuple(name.removeprefix(within) for name in _first_matching(direct, patterns))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        names: list[str] = []
        for folder, folders, files in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder).relative_to(self.path)
            names += [(below / name).as_posix() for name in files if not name.startswith(".")]
            if len(names) > _MOST_FILES:
                raise InputError(f"more than {_MOST_FILES:,} files", file=self.path)
        return tuple(sorted(names))

    @cached_property
    def _archives(self) -> tuple[Archive, ...]:
        return tuple(Archive(path) for path in sorted(self.path.glob("*.zip")))

    def place(self, name: str) -> str:
        """See `Storage`."""
        return str(self.path / name)

    def opened(self, name: str) -> BinaryIO:
        """See `Storage`."""
        try:
            return (self.path / name).open("rb")
        except OSError as error:
            raise InputError(error.strerror or "unreadable", file=self.path / name) from error

    def picture(self, name: ImageName, notes: list[str]) -> Image:
        """See `Storage`."""
        try:
            return read_image(self.path, name, notes)
        except ImageError:
            for archive in self._archives:
                if archive.has(name.path):
                    return archive.picture(name, notes)
            raise


@lru_cache(maxsize=8)
def _kept_open(path: Path, changed: int, size: int, process: int) -> zipfile.ZipFile:
    """An archive whose list of members, which may be long, is read once for all pictures.

    Args:
        path: Of the archive.
        changed: When it was, in nanoseconds; another one is opened anew.
        size: Its bytes.
        process: Of the caller: processes must not share a position in a file.
    """
    del changed, size, process
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class ZipSource:
    """Encoded bytes of an archive's member, read when needed."""

    path: Path
    member: str

    def read(self) -> bytes:
        """The bytes; raises `ImageError` when they cannot be had."""
        try:
            status = self.path.stat()
            archive = _kept_open(self.path, status.st_mtime_ns, status.st_size, os.getpid())
            return _bounded(archive, archive.getinfo(self.member), DEFAULT_LIMITS.max_bytes)
        except _DAMAGE as error:
            raise ImageError(f"damaged: {_told(error)}", file=self.path) from error
        except _UNREADABLE as error:
            raise ImageError(_told(error), file=self.path) from error


@dataclass(frozen=True)
class Archive:
    """Files in a zip archive, checked when it is made.

    Raises:
        InputError: It is no archive, or a member's name leads out of it.
    """

    path: Path

    def __post_init__(self) -> None:
        self._members  # noqa: B018 - an unusable archive is told at once

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
        except (*_DAMAGE, *_UNREADABLE) as error:
            raise InputError(f"no usable zip archive: {_told(error)}", file=self.path) from error
        if len(infos) > _MOST_FILES:
            raise InputError(f"more than {_MOST_FILES:,} members", file=self.path)
        counts = Counter(info.filename for info in infos)
        members = {}
        for info in infos:
            fault = _fault(info.filename)
            if fault:
                raise InputError(f"member {shown(info.filename)} {fault}", file=self.path)
            if counts[info.filename] > 1:
                raise InputError(f"member {shown(info.filename)} is there twice", file=self.path)
            # Links have no content of their own; nobody follows them.
            if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                members[info.filename] = info
        return members

    def has(self, name: str) -> bool:
        """Whether a picture's path names a member, up to the folders around all of them."""
        return self._member(name) is not None

    def _member(self, name: str) -> str | None:
        if len(name) > _LONGEST_PATH:
            return None
        plain = PurePosixPath(name).as_posix()
        if plain in self._members:
            return plain
        # Archives of a folder have it in front of every name, or lack one that paths have.
        fitting = [*self._ending(f"/{plain}"), *self._shorter(plain)]
        return fitting[0] if len(fitting) == 1 else None

    def _ending(self, end: str) -> list[str]:
        """Members that end so; no more than two, since already the second one is too many."""
        found, turned = self._reversed, end[::-1]
        place = bisect_left(found, turned)
        return [one[::-1] for one in found[place : place + 2] if one.startswith(turned)]

    def _shorter(self, plain: str) -> Iterator[str]:
        """Members that a path ends with, behind one of its folders."""
        place = plain.find("/")
        while place >= 0:
            if plain[place + 1 :] in self._members:
                yield plain[place + 1 :]
            place = plain.find("/", place + 1)

    @cached_property
    def _reversed(self) -> list[str]:
        """Members from their ends, sorted: those with one end stand together."""
        return sorted(member[::-1] for member in self._members)

    def matching(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """See `Storage`; what macOS adds is left out."""
        names = sorted(n for n in self._members if not n.startswith("__MACOSX/"))
        return _first_matching(names, patterns)

    def place(self, name: str) -> str:
        """See `Storage`."""
        return f"{self.path}/{name}"

    def opened(self, name: str) -> BinaryIO:
        """See `Storage`."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return _spooled(archive, self._members[name], self.path.stat().st_size)
        except InputError as error:
            raise InputError(error.message, file=self.place(name)) from error
        except _DAMAGE as error:
            raise InputError(f"damaged: {_told(error)}", file=self.place(name)) from error
        except _UNREADABLE as error:
            raise InputError(_told(error), file=self.place(name)) from error

    def picture(self, name: ImageName, notes: list[str]) -> Image:
        """See `Storage`."""
        fault = _fault(name.path)
        if fault:
            raise ProblemError(f"{shown(name.path)} {fault}", field=name.field)
        member = self._member(name.path)
        if member is None:
            raise ImageError(
                f"{shown(name.path)}: not in {shown(self.path.name)}", field=name.field
            )
        source = ZipSource(self.path, member)
        try:
            data = source.read()
        except ImageError as error:
            raise ImageError(
                f"{shown(name.path)}: {error.message}", file=self.path, field=name.field
            ) from error
        return checked_image(data, source, name, notes)


def _spooled(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> BinaryIO:
    """A member in a temporary file that is gone when it is closed; memory holds a chunk.

    Args:
        archive: Its archive.
        info: The member.
        size: Bytes of the archive, which no member takes more of, whatever its header says.

    Raises:
        InputError: It is too large, grows like a bomb, is encrypted, or the disk is full.
    """
    _check(info, _MOST_TABLE_BYTES)
    packed = min(info.compress_size, size)
    if info.file_size > max(_PLAIN_TABLE_BYTES, _MOST_GROWTH * packed):
        raise InputError(
            f"{info.file_size:,} bytes packed into {packed:,}: more than {_MOST_GROWTH} times as "
            "much is taken for a bomb; unpack it where it is none"
        )
    # zipfile gives no more bytes than the header names, so the checks above hold.
    folder = tempfile.gettempdir()
    if info.file_size > shutil.disk_usage(folder).free:
        raise InputError(f"{info.file_size:,} bytes, unpacked, do not fit into {folder} (TMPDIR)")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the reader closes it
    try:
        with archive.open(info) as member:
            shutil.copyfileobj(member, file, _CHUNK)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _check(info: zipfile.ZipInfo, most: int) -> None:
    """Raises `ImageError` for a member that is encrypted, or by its header over `most` bytes."""
    if info.flag_bits & 1:
        raise ImageError("is encrypted")
    if info.file_size > most:
        raise ImageError(f"over the limit of {most:,} bytes")


def _bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """A member's bytes, whatever its header says of their number.

    Raises:
        ImageError: There are more than `most`, or it is encrypted.
    """
    _check(info, most)
    with archive.open(info) as member:
        data = member.read(most + 1)
    if len(data) > most:
        raise ImageError(f"over the limit of {most:,} bytes")
    return data


def _fault(name: str) -> str:
    """Why a name is no plain path below an archive; "" where it is one."""
    windows = PureWindowsPath(name)
    if not name.strip() or "\0" in name:
        return "is no path"
    if name.startswith(("/", "\\")) or windows.drive:
        return "is absolute"
    if "\\" in name:
        return "has '\\' in its name: write '/' between folders"
    if ".." in windows.parts:
        return "leads out of the archive"
    return ""


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
