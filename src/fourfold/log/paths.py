"""A store's files, wherever they are: on a disk (``pathlib.Path``) or in a bucket (``BucketPath``)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from fourfold.log.bucket import CONNECT_SECONDS, REQUEST_SECONDS, BucketPath, endpoint, located, tried

StorePath = Path | BucketPath


def path_of(text: str) -> StorePath:
    """The path that a text names."""
    scheme, found, key = text.partition("://")
    return BucketPath(scheme, key) if found else Path(text)


def in_order(found: Iterable[StorePath]) -> list[StorePath]:
    """Paths in the order of their texts."""
    return sorted(found, key=str)


def status(path: str) -> tuple[int, int, int] | None:
    """What tells a file from another in its place; None where there is none."""
    try:
        if "://" in path:
            found = path_of(path).stat()
            return 0, found.st_mtime_ns, found.st_size
        here = os.stat(path)  # asked for before every answer: no Path
    except (FileNotFoundError, NotADirectoryError):
        return None
    return here.st_ino, here.st_mtime_ns, here.st_size


def exists(path: str) -> bool:
    """Whether there is a file."""
    return path_of(path).is_file() if "://" in path else os.path.exists(path)


def all_exist(paths: Collection[str], named: Collection[str] = ()) -> bool:
    """Whether all files are there. In a bucket, where each is a request, those that the newest commit names are
    trusted to be; one that is not is an error when it is read.
    """
    return all(exists(path) for path in paths if "://" not in path or path not in named)


def write_whole(path: StorePath, content: bytes, *, synchronise: bool = False) -> None:
    """Write a file whole or not at all; on a disk, where asked to, so that it survives a loss of power.

    Raises:
        OSError: it could not be written.
    """
    if isinstance(path, BucketPath):
        path.write_bytes(content)
        return
    hidden = path.with_name(f".{path.name}.tmp")
    with hidden.open("wb") as file:
        file.write(content)
        if synchronise:
            file.flush()
            os.fsync(file.fileno())
    hidden.replace(path)


def move(path: StorePath, target: StorePath) -> None:
    """Move a file within a store, in the place of any that is there.

    Raises:
        FileNotFoundError: there is none.
        OSError: it could not be moved.
    """
    if isinstance(path, BucketPath):
        assert isinstance(target, BucketPath)
        path.replace(target)
    else:
        path.replace(str(target))


def remove_all(folder: StorePath) -> None:
    """Remove a folder with all that is in it."""
    if isinstance(folder, BucketPath):
        for path in folder.iterdir():
            remove_all(path) if path.is_dir() else path.unlink(missing_ok=True)
        folder.rmdir()
    else:
        shutil.rmtree(folder)


def write_parquet(table: pa.Table, path: StorePath) -> None:
    """Write a table as a file, whole or not at all."""
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_whole(path, sink.getvalue())


def open_parquet(path: str | StorePath, *, at_once: bool = False) -> pa.parquet.ParquetFile:
    """A data file, to be closed after use.

    With ``at_once``, one in a bucket is read whole first: an error of Arrow's is then damage, and none of the network.
    """
    import pyarrow.parquet as pq

    if at_once and isinstance(found := path_of(str(path)), BucketPath):
        return pq.ParquetFile(pa.BufferReader(found.read_bytes()))
    key, client = located(str(path))
    if client is None:
        return pq.ParquetFile(key)
    return tried(lambda: pq.ParquetFile(key, filesystem=client))


def dataset(files: Sequence[str], schema: pa.Schema) -> pa.dataset.Dataset:
    """Data files of one stream, at least one, to be read in part."""
    import pyarrow.dataset as pds

    keys, clients = zip(*map(located, files), strict=True)
    return pds.dataset(list(keys), schema=schema, format="parquet", filesystem=clients[0])


def delta_options(path: StorePath) -> dict[str, str] | None:
    """What the Delta engine is told of a bucket beyond the environment: to give up in time, as Arrow's client does."""
    if not isinstance(path, BucketPath):
        return None
    options = {
        "connect_timeout": f"{CONNECT_SECONDS:g}s", "timeout": f"{REQUEST_SECONDS:g}s", "max_retries": "4",
        "retry_timeout": f"{2 * REQUEST_SECONDS:g}s",
    }  # fmt: skip
    if path.scheme == "s3" and (server := endpoint()):
        options |= {"aws_endpoint_url": server, "aws_allow_http": str(server.startswith("http://")).lower()}
    return options
