"""Paths in a bucket, with the names that ``pathlib`` has for those on a disk: only what a store needs of them.

Arrow's own clients are used, for they read Parquet column by column, need one request for a small file, and still
work in the child of a fork. A file appears whole or not at all, as a put is one. There are no folders: one exists where
there is a file beneath it. Credentials come from the usual environment and profiles, and are never shown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs  # loaded here, before our own exit is registered: its clients end after the last was sent

from fourfold.errors import ConfigError, StoreError

SCHEMES = ("s3", "gs", "abfss", "az")
CONNECT_SECONDS, REQUEST_SECONDS, TRIES = 5.0, 20.0, 4  # what one request may take, and how often it is made
ROUNDS, FIRST_PAUSE = 3, 0.1  # how often our own attempts are made, and seconds before the second
ONCE_SECONDS = 5.0  # how long one may stall that its caller makes again


T = TypeVar("T")


class BucketError(StoreError):
    """A bucket could not be asked, or said no.

    It is none of a file's errors (``OSError``): these tell of damage where there is a file, this tells of nothing.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The size of a file in bytes, and when it was written, in seconds since 1970; of a folder zeros."""

    st_size: int
    st_mtime: float
    st_mtime_ns: int
    st_mode: int


@dataclasses.dataclass(frozen=True, order=True)
class BucketPath:
    """A path in a bucket: ``scheme://bucket/key``.

    ``known`` is what a listing said of it, which is not asked for again.
    """

    scheme: str
    key: str  # with the bucket before it
    known: Status | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, address: str) -> BucketPath:
        """The path of an address.

        Raises:
            ConfigError: it is none, or holds credentials.
        """
        scheme, _, rest = address.partition("://")
        key = "/".join(part for part in rest.split("/") if part)
        shown = f"{scheme}://…"
        if "@" in rest.split("/")[0] and scheme == "abfss":
            raise ConfigError(
                f"store={shown}: name the container alone, as in 'abfss://container/fourfold'; its account is given by "
                "AZURE_STORAGE_ACCOUNT_NAME"
            )
        if "@" in rest.split("/")[0]:
            raise ConfigError(f"store={shown}: the address holds credentials; give them by the environment instead")
        if "?" in rest or "#" in rest:
            raise ConfigError(f"store={shown}: the address has options; give them by the environment instead")
        if not key or rest.startswith("/"):
            raise ConfigError(f"store={address!r}: name a bucket, such as '{scheme}://bucket/fourfold'")
        odd = any(part in (".", "..") for part in key.split("/")) or any(c in key for c in "%*[]\\")
        if odd or not key.isprintable():
            raise ConfigError(f"store={address!r}: choose a path without dots alone and without any of % * [ ] \\")
        return cls(scheme, key)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __fspath__(self) -> str:
        return str(self)

    def __truediv__(self, part: str) -> BucketPath:
        return BucketPath(self.scheme, f"{self.key}/{part}")

    # names ----------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The name's ending, with its dot; empty where there is none."""
        stem, dot, end = self.name.rpartition(".")
        return dot + end if stem else ""

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name.removesuffix(self.suffix)

    @property
    def parent(self) -> BucketPath:
        """The path without its last part."""
        return BucketPath(self.scheme, self.key.rpartition("/")[0] or self.key)

    def with_name(self, name: str) -> BucketPath:
        """Beside it, of another name."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> BucketPath:
        """Beside it, of another ending."""
        return self.parent / f"{self.stem}{suffix}"

    # files ----------------------------------------------------------------------------------------------------------

    def stat(self) -> Status:
        """Its size and time.

        Raises:
            FileNotFoundError: there is nothing.
            BucketError: the bucket cannot be asked.
        """
        if self.known is not None:
            return self.known
        info = self._tried(lambda: filesystem(self.scheme).get_file_info(self.key))
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(f"{self} is not there")
        return _status(info)

    def exists(self) -> bool:
        """Whether there is a file of this path, or beneath it.

        Raises:
            BucketError: there is no such bucket.
        """
        try:
            self.stat()
        except FileNotFoundError:
            self.mkdir()
            return False
        return True

    def is_file(self) -> bool:
        """Whether there is a file of this path: one request, where ``stat`` looks for a folder too."""
        if self.known is not None:
            return stat.S_ISREG(self.known.st_mode)
        try:
            self._tried(lambda: filesystem(self.scheme).open_input_file(self.key).close())
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there is a file beneath it."""
        try:
            return stat.S_ISDIR(self.stat().st_mode)
        except FileNotFoundError:
            return False

    def read_bytes(self) -> bytes:
        """What the file holds.

        Raises:
            FileNotFoundError: there is none.
            BucketError: it cannot be read.
        """

        def read() -> bytes:
            with filesystem(self.scheme).open_input_file(self.key) as file:  # a stream asks for a piece at a time
                content: bytes = file.read()
                return content

        return self._tried(read)

    def read_text(self, encoding: str = "utf-8") -> str:
        """What the file holds, as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes, *, once: bool = False) -> None:
        """Write a file whole, or not at all, in the place of any that is there; ``once`` makes one short attempt.

        Raises:
            BucketError: it could not be written, or it is not known whether it was.
        """

        def write() -> None:
            with filesystem(self.scheme, once=once).open_output_stream(self.key, metadata=_BINARY) as file:
                file.write(content)

        self._tried(write, 1 if once else ROUNDS)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write a text as a file."""
        self.write_bytes(text.encode(encoding))

    def touch(self) -> None:
        """Write an empty file."""
        self.write_bytes(b"")

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file.

        Raises:
            FileNotFoundError: there is none, and that matters.
        """
        try:
            self._tried(lambda: filesystem(self.scheme).delete_file(self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove what some clients put for a folder, and leave where all beneath it has gone."""
        with contextlib.suppress(FileNotFoundError):
            self._tried(lambda: filesystem(self.scheme).delete_dir(self.key))

    def replace(self, target: BucketPath) -> None:
        """Move the file, or all that is beneath it: copied, then removed; dying between the two leaves both."""
        if self.is_dir():
            for path in self.iterdir():
                path.replace(target / path.name)
            return
        self._tried(lambda: filesystem(self.scheme).copy_file(self.key, target.key))
        self.unlink(missing_ok=True)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing, as there are no folders in a bucket; but the bucket must be there.

        Raises:
            BucketError: it is not.
        """
        bucket = self.key.partition("/")[0]
        info = self._tried(lambda: filesystem(self.scheme).get_file_info(bucket))
        if info.type == fs.FileType.NotFound:
            raise BucketError(f"{self}: there is no such bucket: make it, or check the address")

    def iterdir(self) -> Iterator[BucketPath]:
        """What is directly beneath it, with its size and time; nothing where nothing is."""
        selector = fs.FileSelector(self.key, allow_not_found=True)
        for info in self._tried(lambda: filesystem(self.scheme).get_file_info(selector)):
            if info.path.rstrip("/") == self.key:  # what some clients put there for a folder
                continue
            yield BucketPath(self.scheme, info.path.rstrip("/"), _status(info))

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """What is beneath it and fits a pattern, part by part."""
        first, _, rest = pattern.partition("/")
        if not any(character in first for character in "*?["):
            below = self / first
            if rest:
                yield from below.glob(rest)
            elif below.exists():
                yield below
            return
        for path in self.iterdir():
            if fnmatch.fnmatchcase(path.name, first):
                yield from path.glob(rest) if rest else (path,)

    def _tried(self, action: Callable[[], T], rounds: int = ROUNDS) -> T:
        """What an action gives; its errors as those of files, with what to do and nothing of credentials."""
        try:
            return tried(action, rounds)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self} is not there") from None
        except (OSError, pa.ArrowException) as error:
            raise BucketError(f"{self}: {explained(self.scheme, str(error))}") from None


def tried(action: Callable[[], T], rounds: int = ROUNDS) -> T:
    """What an action on a bucket gives, which is tried again where its error may pass.

    Arrow's client does so by itself, but not where the answer to a small request is an error.
    """
    for number in range(1, rounds + 1):
        try:
            return action()
        except (OSError, pa.ArrowException) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) or any(sign in text for sign in _GONE):
                raise FileNotFoundError(text) from None
            if number == rounds or any(sign in text for sign in _FOR_GOOD):
                raise
            time.sleep(random.uniform(0.5, 1.0) * FIRST_PAUSE * 4 ** (number - 1))
    raise AssertionError


def filesystem(scheme: str, *, once: bool = False) -> fs.FileSystem:
    """The process's client of a kind of bucket; a child of a fork makes its own. ``once``: that gives up soon."""
    return _filesystem(scheme, os.getpid(), once)


def endpoint() -> str:
    """The address of another server than Amazon's, which speaks the same protocol; empty where none is named."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def located(path: str) -> tuple[str, fs.FileSystem | None]:
    """A path as Arrow takes it, with the client to use; None on a disk."""
    scheme, found, key = path.partition("://")
    return (key, filesystem(scheme)) if found else (path, None)


@functools.lru_cache(maxsize=8)
def _filesystem(scheme: str, process: int, once: bool) -> fs.FileSystem:
    if scheme == "s3":
        return fs.S3FileSystem(
            endpoint_override=endpoint() or None,
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=ONCE_SECONDS if once else REQUEST_SECONDS,
            retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=0 if once else TRIES),
            allow_delayed_open=True,
        )
    if scheme == "gs":
        import datetime as dt

        return fs.GcsFileSystem(retry_time_limit=dt.timedelta(seconds=ONCE_SECONDS if once else REQUEST_SECONDS))
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise ConfigError(f"store='{scheme}://…': the environment names no account: set {_CREDENTIALS[scheme]}")
    emulator: dict[str, str] = {}
    if os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true"):  # the names that the Delta engine has
        server = urlsplit(os.environ.get("AZURITE_BLOB_STORAGE_URL", "http://127.0.0.1:10000"))
        for service in ("blob", "dfs"):
            emulator |= {f"{service}_storage_authority": server.netloc, f"{service}_storage_scheme": server.scheme}
    return fs.AzureFileSystem(account, account_key=os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"), **emulator)


def _status(info: fs.FileInfo) -> Status:
    folder = info.type == fs.FileType.Directory
    written = info.mtime_ns or 0
    return Status(info.size or 0, written / 1e9, written, stat.S_IFDIR if folder else stat.S_IFREG)


_BINARY = {"Content-Type": "application/octet-stream"}
_AZURE = "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or a login"
_CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS", "abfss": _AZURE, "az": _AZURE,
}  # fmt: skip
_RIGHTS = {"s3": ", which need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"}
_NETWORK = {"s3": "the network, AWS_REGION and AWS_ENDPOINT_URL"}
_GONE = ("NO_SUCH_KEY", "HTTP status 404", "Path does not exist")
_NO_BUCKET = ("NO_SUCH_BUCKET", "NoSuchBucket")
_DENIED = ("ACCESS_DENIED", "AccessDenied", "Forbidden", "HTTP status 403")
_UNKNOWN = (
    "INVALID_ACCESS_KEY_ID", "InvalidAccessKeyId", "SIGNATURE_DOES_NOT_MATCH", "SignatureDoesNotMatch",
    "MISSING_AUTHENTICATION", "redential", "Unauthorized", "access token",
)  # fmt: skip
_FOR_GOOD = (*_NO_BUCKET, *_DENIED, *_UNKNOWN)
_OF_CLIENTS = (
    "Generic S3", "Generic GCS", "Generic MicrosoftAzure", "Generic HTTP", "AWS Error", "google::cloud::Status",
    "Azure Error", *_FOR_GOOD,
)  # fmt: skip
_ADVICE = (  # the first that fits what a client says; in braces, what the environment may set
    (_NO_BUCKET, "there is no such bucket: make it, or check the address"),
    (_UNKNOWN, "the credentials are missing or wrong: check {credentials}"),
    (_DENIED, "access is denied: check the credentials ({credentials}){rights}"),
    (
        (
            "SLOW_DOWN",
            "SlowDown",
            "SERVICE_UNAVAILABLE",
            "Service Unavailable",
            "Failed to flush",
            "INTERNAL_FAILURE",
            "503",
            "500",
        ),
        "the server is overloaded or fails; try again",
    ),
    (
        ("NETWORK_CONNECTION", "curlCode", "imeout", "timed out", "sending request", "onnection"),
        "it cannot be reached now; if that lasts, check {network}",
    ),
)


def of_client(path: object, error: BaseException) -> BucketError | None:
    """An error about a path as one of a bucket that could not be asked, which says nothing of what is there; None where
    it is another. Engines hand on the errors of their clients in words alone.
    """
    text = str(error)
    is_such = any(sign in text for sign in _OF_CLIENTS) and not any(sign in text for sign in (*_GONE, "not found: "))
    return BucketError(f"{path}: {explained(path.scheme, text)}") if isinstance(path, BucketPath) and is_such else None


def explained(scheme: str, text: str) -> str:
    """What a client's error means, and what to do; nothing that a server says of credentials."""
    for signs, advice in _ADVICE:
        if any(sign in text for sign in signs):
            return advice.format(
                credentials=_CREDENTIALS[scheme], rights=_RIGHTS.get(scheme, ""),
                network=_NETWORK.get(scheme, "the network"),
            )  # fmt: skip
    return " ".join(text.split())[:200]
