"""Azure's object storage for tests: Azurite, the server that Azure's makers have for it.

``npm install azurite``; FOURFOLD_AZURITE names its program ``azurite-blob`` where that is not on the path.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess

import pytest
from pyarrow import fs

CONTAINER = "fourfold"
_PROGRAM = os.environ.get("FOURFOLD_AZURITE") or shutil.which("azurite-blob")  # before tests are cut off from it
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # known to everybody


@functools.cache
def environment() -> dict[str, str]:
    """What a client needs to find this process's server; without one, a test fails in CI and is skipped elsewhere."""
    if _PROGRAM is None:
        why = "Azurite is not installed: npm install azurite, and let FOURFOLD_AZURITE name its program azurite-blob"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    process = subprocess.Popen(
        [
            _PROGRAM, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--silent",
            "--disableTelemetry",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    creator = os.getpid()
    atexit.register(lambda: process.kill() if os.getpid() == creator else None)
    assert process.stdout is not None
    server = next(line.split()[-1] for line in process.stdout if "successfully listens on" in line)
    authority = server.partition("://")[2]
    client = fs.AzureFileSystem(
        _ACCOUNT, account_key=_KEY, blob_storage_authority=authority, dfs_storage_authority=authority,
        blob_storage_scheme="http", dfs_storage_scheme="http",
    )  # fmt: skip
    client.create_dir(CONTAINER)
    return {
        "AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": server, "NO_PROXY": "127.0.0.1",
        "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
    }  # fmt: skip
