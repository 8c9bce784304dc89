"""Write and read arrays so that nothing half-written is ever read: safetensors with JSON provenance, no pickles."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from helpers.errors import CourseError

CONVENTION = "block i output, 0-based; token 0 left out"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: through a temporary neighbour and one rename."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(scratch, path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CourseError(f"cannot write {path.name}: {error.strerror or error}; what was finished before is kept") from None


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray], provenance: Mapping[str, Any] | None = None) -> None:
    """Arrays and their provenance in one safetensors file."""
    metadata = {"provenance": json.dumps(dict(provenance))} if provenance is not None else None
    write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


def read_tensors(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a cache file, or None if it is not there or damaged (it will be made again)."""
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError):
        return None


def read_artifact(path: Path, expected: Mapping[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and provenance of a shipped file; refuses one that is missing, damaged, without provenance, or made from something else.

    `expected` names what the provenance must say, e.g. {"model": "smollm2-135m", "convention": CONVENTION}.
    """
    if not path.is_file():
        raise CourseError(f"no artefact {path.name} in {path.parent.name}/: make it with `python -m helpers.run --model {path.parent.name}`")
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            stored = (file.metadata() or {}).get("provenance")
    except (OSError, SafetensorError) as error:
        raise CourseError(f"damaged artefact {path.name}: {str(error).splitlines()[0]}; restore it with `git checkout`, or make it again") from None
    if stored is None:
        raise CourseError(f"foreign artefact {path.name}: it does not say which model and texts it was made from")
    provenance = json.loads(stored)
    for name, value in (expected or {}).items():
        if provenance.get(name) != value:
            raise CourseError(f"artefact {path.name} was made with {name} = {provenance.get(name)!r}, expected {value!r}")
    return arrays, provenance
