"""What can go wrong on the way to NDIF, each in one line. Local runs pass through untouched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import websocket
from nnsight import CONFIG
from nnsight.intervention.backends.remote import RemoteError

from helpers.errors import CourseError


@contextmanager
def one_line_errors(name: str, remote: bool) -> Iterator[None]:
    """Turn a failed remote run of model `name` into a CourseError that says what to do."""
    if not remote:
        yield
        return
    try:
        yield
    except RemoteError as error:
        said = " ".join(str(error).split())
        if "key" in said.lower() and ("invalid" in said.lower() or "401" in said):
            raise CourseError(f"{CONFIG.API.HOST} refused the key: check NDIF_API_KEY") from None
        if "not deployed" in said or "404" in said:
            raise CourseError(f"model {name} is not deployed on {CONFIG.API.HOST} ({said[:120]}): choose one that is, or load it here") from None
        if said.startswith("Failed to send request"):
            raise CourseError(f"cannot reach {CONFIG.API.HOST}: {said[:160]}") from None
        raise CourseError(f"the server could not run it: {said[-240:]}") from None
    except (OSError, websocket.WebSocketException, httpx.HTTPError) as error:
        raise CourseError(f"cannot reach {CONFIG.API.HOST}: {' '.join(str(error).split())[:160]}; check the network and NDIF_HOST, or leave remote out to run here") from None
