"""Where things are. Nothing else in the package spells a folder."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
RESULTS = Path(os.environ.get("COURSE_RESULTS", ROOT / "results"))
CACHE = Path(os.environ.get("COURSE_CACHE", ROOT / ".cache"))


def artifact_dir(model_name: str) -> Path:
    """Folder of the shipped artefact of one model."""
    return DATA / "artifacts" / slug(model_name)


def results_dir(model_name: str) -> Path:
    """Folder that runs write to, one per model; never committed."""
    return RESULTS / slug(model_name)


def slug(name: str) -> str:
    """A model name as a folder name: `org/Model-7B` becomes `org--Model-7B`."""
    return name.strip("/").replace("/", "--").replace(" ", "_")
