"""Everything the notebooks stand on, live or from the shipped artefact: story means, neutral means, vectors.

The artefact is made by the same code (`python -m helpers.run --ship`), in half precision, and every replay checks a random part of it
against the model in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from helpers.activations import Activations, capture, capture_means
from helpers.artifacts import CONVENTION, read_artifact, write_tensors
from helpers.chat import Prompt, plain
from helpers.corpus import corpus_hash, read_neutral, read_stories
from helpers.errors import CourseError
from helpers.models import Model, default_block
from helpers.paths import artifact_dir
from helpers.recognition import project_out
from helpers.vectors import EmotionVectors

SKIP, SHARE, OPENING = 50, 0.5, 40


@dataclass(frozen=True)
class Course:
    """The method's results for one model.

    Attributes:
        stories: the corpus, one row a story.
        story_means: activations of the stories at the default block only (that is what ships).
        neutral: activations of the neutral texts at all blocks.
        openings: activations over the first 40 tokens of the neutral texts (sink left out) at the default block: what a short text is held against.
        raw: vectors as difference of means; vectors: the same with neutral variance projected out.
        live: True if computed here and now, False if replayed from the artefact.
    """

    stories: pd.DataFrame
    story_means: Activations
    neutral: Activations
    openings: Activations
    raw: EmotionVectors
    vectors: EmotionVectors
    live: bool

    @property
    def source(self) -> str:
        """What figures say about where their numbers come from."""
        return "computed live" if self.live else f"replayed from the artefact of {self.raw.provenance.get('date', 'unknown date')}"


def load_course(model: Model, *, live: bool = False, topics: int | None = None) -> Course:
    """Replay the shipped artefact of `model`, or compute everything from the stories (minutes to hours, resumable, done once)."""
    stories = read_stories(topics=topics)
    if live:
        return compute(model, stories)
    if topics is not None:
        raise CourseError("replay has all topics: use live=True with topics=..., or leave topics out")
    folder = artifact_dir(model.name)
    expected = {"model": model.name, "revision": model.revision, "convention": CONVENTION, "corpus": corpus_hash(stories)}
    raw = EmotionVectors.load(folder / "vectors.safetensors", expected)
    arrays = {name: _activations(folder / f"{name}.safetensors", expected) for name in ("stories", "neutral", "openings")}
    return Course(stories, arrays["stories"], arrays["neutral"], arrays["openings"], raw, raw.denoise(arrays["neutral"], SHARE), live=False)


def compute(model: Model, stories: pd.DataFrame) -> Course:
    """Capture, difference of means, denoise: the whole method on this model."""
    means = capture_means(model, list(stories.text), skip=SKIP)
    neutral = capture_means(model, list(read_neutral().text), skip=SKIP)
    starts = [Prompt(text, plain(model, text, 0).ids[: OPENING + 1], {"opening": tuple(range(1, OPENING + 1))}) for text in read_neutral().text]
    openings = capture(model, starts, ("opening",), blocks=[default_block(model)], cache=True)["opening"]
    raw = EmotionVectors.from_means(means, list(stories.emotion), default=default_block(model), corpus=corpus_hash(stories),
                                    stories=len(stories), skip=SKIP, date=date.today().isoformat(), seed=0, command="python -m helpers.run --ship")
    only = replace(means, values=means.values[:, [means.blocks.index(raw.default)]], norms=means.norms[:, [means.blocks.index(raw.default)]], blocks=(raw.default,))
    return Course(stories, only, neutral, openings, raw, raw.denoise(neutral, SHARE), live=True)


def ship(course: Course, folder: Path) -> None:
    """Write the artefact: vectors at all blocks, story means at the default block, neutral means; half precision, with provenance."""
    course.raw.save(folder / "vectors.safetensors")
    for name, acts in (("stories", course.story_means), ("neutral", course.neutral), ("openings", course.openings)):
        arrays = {"values": acts.values.astype(np.float16), "norms": acts.norms, "blocks": np.array(acts.blocks)}
        write_tensors(folder / f"{name}.safetensors", arrays, {**course.raw.provenance, "span": acts.span})


def check_live(course: Course, model: Model, *, n: int = 6, seed: int | None = None) -> float:
    """Read n random stories again with the model in front of you; the least cosine with the course's own means must reach 0.999.

    The mean over emotions is subtracted first: all English prose is alike to 0.97, so a cosine of the bare means would hardly fail.

    Raises CourseError if one does not: the artefact then belongs to other weights or other stories.
    """
    rows = np.sort(np.random.default_rng(seed).choice(len(course.stories), n, replace=False))
    block = course.raw.default
    again = capture_means(model, list(course.stories.text.iloc[rows]), skip=SKIP, blocks=[block], cache=False).at(block)
    grand = course.raw.grand[course.raw.blocks.index(block)]
    again, kept = again - grand, course.story_means.at(block)[rows] - grand
    cosine = (again * kept).sum(1) / np.linalg.norm(again, axis=1) / np.linalg.norm(kept, axis=1)
    worst = int(cosine.argmin())
    if cosine[worst] < 0.999:
        row = course.stories.iloc[rows[worst]]
        raise CourseError(f"live and stored means disagree (cosine {cosine[worst]:.4f}) on {row.emotion!r}, topic {row.topic!r}: make the artefact again")
    return float(cosine.min())


def neutral_reference(course: Course) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of every emotion's reading over the openings of neutral texts at the default block, [emotion] each.

    A reading is large only beside these. Openings, since a short text scatters more than a long one and begins without context.
    """
    readings = course.vectors.read(course.openings.at(course.vectors.default))
    return readings.mean(0), readings.std(0)


def _activations(path: Path, expected: dict) -> Activations:
    arrays, made = read_artifact(path, expected)
    return Activations(arrays["values"].astype(np.float32), arrays["norms"], tuple(arrays["blocks"].tolist()), made["model"], made["revision"], made["dtype"], made["span"])


def denoised_rows(course: Course) -> Float[np.ndarray, "story d"]:
    """Story means at the default block with neutral components projected out."""
    block = course.raw.default
    return project_out(course.story_means.at(block), course.neutral.at(block), SHARE)
