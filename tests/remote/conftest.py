"""The server, in its own process, for the whole session of tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from helpers.models import embedded_folder

KEY = "a-key-for-this-test"


@pytest.fixture(scope="session")
def server():
    """Host of a running server that holds the embedded model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("server.py")), str(embedded_folder()), str(port), KEY],
                               env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    host = f"http://127.0.0.1:{port}"
    for _ in range(240):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended at once: {process.stdout.read().decode()[-2000:]}")
        try:
            httpx.get(f"{host}/docs", timeout=1)
            break
        except httpx.HTTPError:
            time.sleep(0.5)
    else:
        process.terminate()
        raise RuntimeError("the server did not answer")
    yield host
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture
def ndif(server, monkeypatch):
    """nnsight's client, pointed at the server."""
    from nnsight import CONFIG

    monkeypatch.setattr(CONFIG.API, "HOST", server)
    monkeypatch.setattr(CONFIG.API, "APIKEY", KEY)
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    monkeypatch.setattr(CONFIG.APP, "REMOTE_LOGGING", False)
    return CONFIG
