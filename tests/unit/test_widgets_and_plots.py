"""The pure functions under the widgets, at every extreme; figures that draw once and say what they show."""

import re

import numpy as np
import pytest

from helpers import plots, widgets
from helpers.corpus import TWELVE
from helpers.course import neutral_reference
from helpers.errors import CourseError
from helpers.geometry import NORMS, circumplex_of
from helpers.lens import read_emotions


@pytest.mark.parametrize("text", ["Hi there", "x" * 600, "a b " * 300, "\u00e9\u00e8 \u65e5\u672c\u8a9e \U0001f600 end", "line\nbreak\tand tab"])
def test_lens_on_odd_texts(model, course, text):
    html = widgets.lens_html(model, course, text, "at ease")
    assert html.count("<span") >= 2 and "nan sd" not in html


def test_lens_escapes_what_is_typed(model, course):
    html = widgets.lens_html(model, course, "<script>alert(1)</script> & more")
    assert "<script>" not in html and "&lt;" in html


@pytest.mark.parametrize("text, emotion, message", [("", "happy", "empty text"), ("  \n", "happy", "empty text"), ("Hi there", "hapy", "did you mean 'happy'"), ("a", "happy", "at least two tokens")])
def test_lens_bad_input(model, course, text, emotion, message):
    with pytest.raises(CourseError, match=message):
        widgets.lens_html(model, course, text, emotion)


@pytest.mark.parametrize("block", [0, 29])
@pytest.mark.parametrize("ratings", list(NORMS))
@pytest.mark.parametrize("denoised", [True, False])
def test_explorer_at_its_ends(course, block, ratings, denoised):
    title = widgets.explorer_figure(course, block, ratings, denoised).axes[0].get_title(loc="left")
    assert f"Block {block} (chosen by you" in title and "random directions up to" in title and f"n = {45 if ratings == 'rm1977' else 82}" in title


def test_explorer_marks_the_fixed_block(course):
    assert "fixed in advance" in widgets.explorer_figure(course, course.vectors.default, "rm1977").axes[0].get_title(loc="left")
    with pytest.raises(CourseError, match="no vectors at block 30"):
        widgets.explorer_figure(course, 30, "rm1977")
    with pytest.raises(CourseError, match="unknown ratings"):
        widgets.explorer_figure(course, 3, "rm77")


@pytest.mark.parametrize("strength", [-widgets.MAX_STRENGTH, 0.0, widgets.MAX_STRENGTH])
def test_playground_at_its_ends(model, course, strength):
    html = widgets.playground_html(model, course, "Hi <b>there</b>", "grief-stricken", strength, max_new_tokens=6)
    cells = re.findall(r"<div[^>]*>(.*?)</div>", html, re.S)
    assert len(cells) == 2 and (cells[0] == cells[1]) == (strength == 0)


@pytest.mark.parametrize("prompt, emotion, strength, message", [(" ", "calm", 0.1, "empty prompt"), ("Hi", "clam", 0.1, "did you mean 'calm'"), ("Hi", "calm", 0.9, "strength 0.9: expected -0.5 to 0.5")])
def test_playground_bad_input(model, course, prompt, emotion, strength, message):
    with pytest.raises(CourseError, match=message):
        widgets.playground_html(model, course, prompt, emotion, strength)


def test_widgets_draw_on_click_and_show_errors_as_one_line(model, course):
    shell = widgets.emotion_lens(model, course, "")
    button, out = shell.children[-2], shell.children[-1]
    assert not out.outputs
    button.click()
    assert "empty text" in str(out.outputs)


def test_figures_are_closed_and_titled(model, course):
    import matplotlib.pyplot as plt

    mean, spread = neutral_reference(course)
    reading = read_emotions(model, course.vectors, "Nobody had seen him since the morning.")
    figures = [plots.emotion_bars(reading, mean, spread), plots.token_heat(reading, TWELVE, mean, spread), plots.circumplex(circumplex_of(course.vectors)),
               plots.sink(np.array([100.0, 2, 3]), ["a", "b", "c"]), plots.matrix(np.eye(3), "abc", "abc", title="t", label="r")]
    assert not plt.get_fignums()  # an open figure would show twice in a notebook
    assert all(figure.axes[0].get_title(loc="left") for figure in figures)


def test_neutral_openings_read_as_neutral(course):
    mean, spread = neutral_reference(course)
    z = (course.vectors.read(course.openings.at(course.vectors.default)) - mean) / spread
    assert np.abs(z).mean() < 1 and (np.abs(z) > 2).mean() < 0.1
