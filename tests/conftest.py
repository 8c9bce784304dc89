"""Real weights for every test that needs a model; tiny random networks where the architecture is the question."""

from __future__ import annotations

import pytest
import torch

from helpers.models import load_model

torch.set_num_threads(1)  # one worker a core


@pytest.fixture(scope="session")
def model():
    """The embedded model, real weights."""
    return load_model("smollm2-135m")


@pytest.fixture(scope="session")
def course(model):
    """Stories, means and vectors replayed from the shipped artefact."""
    from helpers.course import load_course

    return load_course(model)
