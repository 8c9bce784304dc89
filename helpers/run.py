"""`make course`: walk the whole method on one model, live, and end in a scorecard.

    python -m helpers.run [--model smollm2-135m] [--quick] [--ship] [--topics N]

`--quick` replays the shipped artefact and checks a random part of it live; `--ship` writes the artefact from what was computed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from helpers import plots
from helpers.activations import capture_means
from helpers.baseline import word_vectors
from helpers.chat import plain
from helpers.corpus import TWELVE, read_implicit, read_neutral
from helpers.course import Course, check_live, denoised_rows, load_course, neutral_reference, ship
from helpers.dose import dose_response, steered_texts
from helpers.errors import CourseError
from helpers.geometry import circumplex, circumplex_of, layer_sweep, readout
from helpers.lens import read_emotions
from helpers.lint import lint
from helpers.models import Model, load_model
from helpers.paths import artifact_dir, results_dir
from helpers.recognition import heldout_top, implicit, learning_curve, read_prompts, recognise
from helpers.scorecard import Row, make_row, print_scorecard, write_scorecard
from helpers.stats import mean_interval, paired_p, wilson

SENTENCE = "The letter had been open on the table for two days, and still nobody had said a word about it."


@dataclass(frozen=True)
class Walk:
    """What every step needs: the model, the folder for results, and where to speak."""

    model: Model
    folder: Path
    say: Console

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        start = time.perf_counter()
        self.say.print(f"[bold]{title}[/bold]")
        yield
        self.say.print(f"   done in {time.perf_counter() - start:.0f} s")

    def picture(self, name: str, figure: object) -> None:
        plots.save(figure, self.folder / f"{name}.png")
        self.say.print(f"   picture: {self.folder.name}/{name}.png")


def run(model_name: str, *, quick: bool = False, write: bool = False, topics: int | None = None, say: Console | None = None) -> list[Row]:
    """Every step in order; returns the scorecard's rows."""
    say = say or Console()
    start = time.perf_counter()
    model = load_model(model_name)
    walk = Walk(model, results_dir(model_name), say)
    say.print(str(model))
    if (artifact_dir(model_name) / "vectors.safetensors").is_file():
        first_look(walk)
    speed = reading_speed(walk)
    course = prepare(walk, quick=quick, topics=topics)
    if write:
        ship(course, artifact_dir(model_name))
        say.print(f"   artefact written to data/artifacts/{artifact_dir(model_name).name}/")
    rows = [*circle_rows(walk, course), *recognition_rows(walk, course), *steering_rows(walk, course), speed]
    heading = f"{model_name}: {course.source}, {len(course.stories)} stories, block {course.vectors.default} of {model.n_blocks}"
    write_scorecard(rows, walk.folder, heading=heading)
    print_scorecard(rows, heading=heading, console=say)
    say.print(f"{time.perf_counter() - start:.0f} s in all. Pictures, scorecard.json and scorecard.md are in results/{walk.folder.name}/")
    return rows


def first_look(walk: Walk) -> None:
    """Something to see within two minutes, from the shipped vectors."""
    with walk.step("First look, with the shipped vectors"):
        try:
            course = load_course(walk.model)
        except CourseError as error:  # an artefact of other stories is no reason to stop: this run makes a new one
            walk.say.print(f"   left out: {error}", markup=False)
            return
        reading = read_emotions(walk.model, course.vectors, SENTENCE)
        walk.say.print(f"   {SENTENCE!r}")
        mean, spread = neutral_reference(course)
        walk.picture("first_look", plots.emotion_bars(reading, mean, spread, title="What one sentence moves"))
        texts = steered_texts(walk.model, course.vectors, "How was your day?", emotions=("calm", "desperate"), strengths=(0.15,), max_new_tokens=30)
        for row in texts.itertuples():
            walk.say.print(f"   +0.15 {row.emotion}: {row.text.strip()!r}")


def reading_speed(walk: Walk) -> Row:
    """Tokens per second over batches of neutral texts, measured now, at all blocks."""
    texts = list(read_neutral().text)
    speeds, begin = [], time.perf_counter()
    for part in (texts[:8], texts[8:16], texts[16:24]):
        start = time.perf_counter()
        capture_means(walk.model, part, cache=False)
        speeds.append(sum(len(plain(walk.model, text)) for text in part) / (time.perf_counter() - start))
    return make_row("capture.tokens_per_second", mean_interval(speeds), seconds=time.perf_counter() - begin)


def prepare(walk: Walk, *, quick: bool, topics: int | None) -> Course:
    """Stories, their lint, captures and vectors: live, or replayed with a random part checked live."""
    if quick:
        with walk.step("Replaying the shipped artefact, and checking a random part of it live"):
            course = load_course(walk.model)
            cosine = check_live(course, walk.model, n=12)
            walk.say.print(f"   12 random stories read again: least cosine with the artefact {cosine:.5f}")
    else:
        with walk.step("Reading every story at every block (kept, so the second time is quick; safe to interrupt)"):
            course = load_course(walk.model, live=True, topics=topics)
    with walk.step("Lint of the corpus"):
        walk.say.print("   " + str(lint(course.stories)).splitlines()[0])
    return course


def circle_rows(walk: Walk, course: Course) -> list[Row]:
    """The circumplex against two sets of human ratings, beside the no-model baseline; sweep and learning curve as pictures."""
    rows = []
    with walk.step("The circumplex"):
        words = word_vectors(course.stories)
        for ratings in ("rm1977", "glasgow2019"):
            start = time.perf_counter()
            ours, text = circumplex_of(course.vectors, ratings=ratings), circumplex(words.raw, words.emotions, ratings=ratings)
            seconds = time.perf_counter() - start
            rows.append(make_row(f"circumplex.pc1_valence.{ratings}", ours.valence, seconds=seconds, baseline=text.valence, baseline_name="word counts"))
            rows.append(make_row(f"circumplex.pc2_arousal.{ratings}", ours.arousal, seconds=seconds, baseline=text.arousal, baseline_name="word counts"))
            walk.say.print(f"   {ratings}: PC1-valence {ours.valence}\n      PC2-arousal {ours.arousal}\n      PC3-arousal {ours.arousal_pc3.value:.2f}, arousal from three PCs (cross-validated) {ours.arousal_fit}")
        for name in ("valence", "arousal"):
            start = time.perf_counter()
            ours, text = (readout(points, course.vectors.emotions, f"glasgow2019_{name}") for points in (course.vectors.at(), words.raw))
            rows.append(make_row(f"circumplex.{name}_readout.glasgow2019", ours, seconds=time.perf_counter() - start, baseline=text, baseline_name="word counts"))
            walk.say.print(f"   {name} read off the whole vectors: {ours}; word counts {text.value:.2f}", markup=False)
        walk.picture("circumplex", plots.circumplex(circumplex_of(course.vectors), title=f"Block {course.vectors.default} of {walk.model.name}", source=course.source))
        walk.picture("layers", plots.layer_sweep(layer_sweep(course.vectors), course.vectors.default))
        if course.stories.topic.nunique() >= 4:  # fewer would be a single point
            walk.picture("learning_curve", plots.learning_curve(learning_curve(denoised_rows(course), course.stories)))
    return rows


def recognition_rows(walk: Walk, course: Course) -> list[Row]:
    """Held-out stories and unnamed situations, beside the no-model baseline."""
    vectors, stories, rows = course.vectors, course.stories, []
    words = word_vectors(stories)
    with walk.step("Stories the vectors have not seen"):
        start = time.perf_counter()
        ours = heldout_top(denoised_rows(course), stories.emotion, stories.topic)
        text = heldout_top(words.counts, stories.emotion, stories.topic)
        rows.append(make_row("vectors.heldout_top10", ours, seconds=time.perf_counter() - start, baseline=text, baseline_name="word counts"))
        walk.say.print(f"   right emotion among ten of 171: {ours}; word counts {text.value:.2f}")
    with walk.step("Situations that never name the emotion"):
        for row_id, which in (("vectors.implicit_top3", "main"), ("vectors.implicit24_top3", "heldout")):
            start, table = time.perf_counter(), read_implicit(which)
            found = implicit(vectors, read_prompts(walk.model, list(table.prompt), block=vectors.default), table)
            text = recognise(words.read(list(table.prompt))[:, [words.emotions.index(e) for e in TWELVE]], table.emotion, TWELVE)
            rows.append(make_row(row_id, found.rate, seconds=time.perf_counter() - start, baseline=text.rate, baseline_name="word counts"))
            walk.say.print(f"   {which}: {found}; word counts {text.hits}, paired p = {paired_p(found.right, text.right):.2f}", markup=False)
            walk.picture(f"implicit_{which}", plots.recognition(found, text))
    return rows


def steering_rows(walk: Walk, course: Course) -> list[Row]:
    """Own word up, and by how much, against random directions; a few texts."""
    with walk.step("Steering twelve emotions, and 100 random directions"):
        start = time.perf_counter()
        response = dose_response(walk.model, course.vectors, strengths=(0.05, 0.1, 0.2))
        own = response.own(1)
        change, up = response.own_mean(1), wilson(int((own > 0).sum()), len(own))
        chance = np.quantile((response.random[1] > 0).mean(1), [0.025, 0.975])
        up = replace(up, null=(float(chance[0]), float(chance[1])), null_name="random directions")
        seconds = time.perf_counter() - start
        walk.picture("dose", plots.dose(response))
        texts = steered_texts(walk.model, course.vectors, "Write one sentence about your evening.", emotions=("happy", "sad", "calm", "desperate"), strengths=(0.0, 0.2), max_new_tokens=30)
        _say_texts(walk, texts)
    return [make_row("steering.own_word_up", up, seconds=seconds), make_row("steering.own_word_logprob", change, seconds=seconds)]


def _say_texts(walk: Walk, texts: pd.DataFrame) -> None:
    for row in texts.drop_duplicates(["text"]).itertuples():
        name = "unsteered" if row.strength == 0 else f"{row.strength:+.2f} {row.emotion}"
        walk.say.print(f"   {name} (perplexity {row.perplexity:.0f}): {row.text.strip()!r}", markup=False)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m helpers.run", description="Walk the whole method on one model; ends in a scorecard.")
    parser.add_argument("--model", default="smollm2-135m", help="smollm2-135m, a hub id, or a local folder")
    parser.add_argument("--quick", action="store_true", help="replay the shipped artefact and check a random part live")
    parser.add_argument("--ship", action="store_true", help="write data/artifacts/<model>/ from what was computed")
    parser.add_argument("--topics", type=int, help="use only the first so many topics")
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        run(options.model, quick=options.quick, write=options.ship, topics=options.topics)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished batches are kept, run the same command to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
