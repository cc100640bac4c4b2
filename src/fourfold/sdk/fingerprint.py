"""Fingerprints: they show, across processes, that one run's output is another run's input."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any


def of_file(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's fingerprint from its path, size and modification time, with these details."""
    status = path.stat()
    details = {"path": str(path.resolve()), "size": status.st_size, "modified": status.st_mtime}
    return f"file:{details['path']}:{status.st_size}:{status.st_mtime_ns}", details


def of_model(model: object) -> str:
    """A model's fingerprint: a hash of its pickled bytes.

    The bytes are those after one round trip: only then do a model and its copy from a file have equal bytes.
    """
    copy = pickle.loads(pickle.dumps(model, protocol=5))
    return f"model:{hashlib.blake2b(pickle.dumps(copy, protocol=5), digest_size=16).hexdigest()}"


def is_model(value: object) -> bool:
    """Whether a value is used as a model: an instance with ``predict``."""
    return not isinstance(value, type) and callable(getattr(value, "predict", None))
