"""A place off the machine, through fsspec: files go there whole and are read back; nothing that opens it is ever said.

What opens it comes from the environment or fsspec's configuration, never from the URL
(filesystem-spec.readthedocs.io, "Configuration").
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrator.errors import MigratorError, RefusedError
from migrator.files import create_private, make_directory, sha256_of, sync_directory, sync_file

_PIECE_BYTES = 8 << 20
_OPTIONS = {protocol: {"max_concurrency": 2} for protocol in ("s3", "s3a")}
"""s3fs holds that many parts of 50 MB in memory; its default is 10."""
_SECRET = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)


class CopyError(MigratorError):
    """A copy off the machine could not be made, or is not what its manifest says."""


def fault_of(url: str) -> str | None:
    """Why `url` is none under which copies may lie; None for one that is. Never repeats it: it may hold a password."""
    scheme, _, rest = url.partition("://")
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or not rest or "::" in url or not url.isprintable():
        return "this is no URL such as s3://bucket/folder or file:///folder"
    if scheme != "file" and re.search(r"[@?#]", rest):
        return "a URL here has no user, password or query: credentials come from the environment"
    return None


def shown(url: str) -> str:
    """`url` for a message, where it may be shown."""
    return url if fault_of(url) is None else "the given URL"


@contextmanager
def telling(fault: str, way_out: str) -> Iterator[None]:
    """What any store raises becomes a CopyError that holds no credentials, nor leads to an error that does."""
    try:
        yield
    except MigratorError:
        raise
    except ImportError as error:
        raise CopyError(f"{fault}: {error}", "install that package") from None
    except Exception as error:
        raise CopyError(f"{fault} ({without_secrets(f'{type(error).__name__}: {error}')})", way_out) from None


def without_secrets(text: str) -> str:
    """The first line of what a store said, with nothing in it that may open it."""
    from fsspec.config import conf

    known = [value for name, value in os.environ.items() if name.startswith("AWS_") and _SECRET.search(name)]
    for secret in sorted({*known, *_secrets(conf)}, key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, "***")
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    text = re.sub(r"(?i)([?&][\w-]*(?:signature|credential|token|key)[\w-]*=)[^&\s\"']+", r"\1***", text)
    return next(iter(text.splitlines()), "")[:300]


def _secrets(settings: Any) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _secrets(value)
        elif isinstance(value, str) and _SECRET.search(str(name)):
            yield value


@dataclass(frozen=True)
class Store:
    """A directory of a file system of fsspec; paths are relative to it. Errors are those of the file system."""

    files: Any
    base: str

    @property
    def is_here(self) -> bool:
        """Whether it is a directory of this machine, or one that is mounted."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.files, LocalFileSystem)

    @property
    def renames(self) -> bool:
        """Whether it has directories and renames in them; where not, a move would copy, and files appear whole."""
        from fsspec import AbstractFileSystem

        return type(self.files).mv is not AbstractFileSystem.mv

    def names(self) -> list[str]:
        """What is in it; FileNotFoundError where there is no such directory."""
        return [str(path).rstrip("/").rpartition("/")[2] for path in self.files.ls(self.base, detail=False)]

    def read(self, path: str) -> bytes | None:
        """The content of a small file; None where there is none."""
        try:
            return bytes(self.files.cat_file(f"{self.base}/{path}"))
        except FileNotFoundError:
            return None

    def size_bytes(self, path: str) -> int | None:
        """None where there is no such file."""
        try:
            return int(self.files.info(f"{self.base}/{path}")["size"])
        except FileNotFoundError:
            return None

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file of any size, a piece at a time."""
        with self.files.open(f"{self.base}/{path}", "rb", cache_type="none") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def sha256(self, path: str) -> str:
        """SHA-256 of what comes back of a file."""
        digest = hashlib.sha256()
        for piece in self.pieces(path):
            digest.update(piece)
        return digest.hexdigest()

    def make_directory(self, name: str, owner: Path) -> None:
        """Afterwards files can be put into `name`, for the owner of `owner` only where it is here.

        A mount that is not there is not made up for: CopyError.
        """
        if self.is_here:
            if not self.files.isdir(self.base):
                raise CopyError(f"there is no directory {self.base}", "make it, or mount what belongs there")
            make_directory(Path(self.base, name), owner)
        elif self.renames:
            self.files.makedirs(f"{self.base}/{name}", exist_ok=True)

    def put(self, source: Path, path: str, sha256: str) -> None:
        """Afterwards `path` has the content of `source`, was read back and has that SHA-256, or is not there.

        Where the store renames, a file gets its name last; a store of objects shows whole ones only. Raises CopyError
        for what came back different, RefusedError where `source` itself is.
        """
        partial = f"{path}.part" if self.renames else path
        name, final = f"{self.base}/{partial}", f"{self.base}/{path}"
        try:
            if self.is_here:
                Path(name).unlink(missing_ok=True)
                create_private(Path(name), source)
            self.files.put_file(os.fspath(source), name)
            if self.is_here:
                sync_file(Path(name))
            if self.sha256(partial) != sha256:
                if sha256_of(source) != sha256:
                    raise RefusedError(f"{source} is not what its manifest says: it was damaged", "copy another one")
                raise CopyError(f"what came back of {source.name} is not what was sent", "check the store")
            if name != final:
                if self.files.exists(final):
                    # Of a try that was cut short: not every store renames over it.
                    self.files.rm_file(final)
                self.files.mv(name, final)
            if self.is_here:
                sync_directory(Path(final).parent)
        except BaseException:
            with suppress(Exception):
                self.files.rm_file(name)
            raise


def open_store(url: str) -> Store:
    """The store at `url`. Listings are read anew: another program may have copied since.

    Raises RefusedError for a URL that holds credentials or is none; what the file system raises.
    """
    fault = fault_of(url)
    if fault is not None:
        raise RefusedError(fault, "set what the store needs in the environment")
    from fsspec.core import url_to_fs

    options = _OPTIONS.get(url.partition("://")[0], {})
    files, base = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)
    return Store(files, base.rstrip("/"))
