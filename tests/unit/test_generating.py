"""Stories from a model: the request, the parser, and doses with their text."""

import pytest

from helpers.corpus import STORY_COLUMNS
from helpers.dose import dose_response, repetition, steered_texts
from helpers.errors import CourseError
from helpers.storygen import parse_story, story_prompt, write_stories


@pytest.mark.parametrize("reply, story", [
    ("Sure! Here is a story:\n\nShe ran. He sat", "She ran."),
    ("Here's a paragraph: \"She ran.\"", "She ran."),
    ("She ran.\n\nI hope you like it!", "She ran."),
    ("She ran. \"Stop!\" he said, and", "She ran. \"Stop!\""),
    ("no end at all", "no end at all"),
])
def test_the_parser_keeps_the_story(reply, story):
    assert parse_story(reply) == story


def test_the_request_names_the_situation(model):
    text = story_prompt("At_Ease", "A bus ride.", "first")
    assert "A bus ride." in text and "'at ease'" in text and "as I" in text
    with pytest.raises(CourseError, match="person 'second'"):
        story_prompt("calm", "A bus ride.", "second")
    with pytest.raises(CourseError, match="did you mean 'calm'"):
        story_prompt("clam", "A bus ride.")


def test_generated_stories_have_the_corpus_columns_and_a_seed(model):
    first, again, other = (write_stories(model, ["calm", "furious"], "A bus ride.", seed=s, max_new_tokens=12) for s in (1, 1, 2))
    assert list(first.columns) == list(STORY_COLUMNS) and list(first.emotion) == ["calm", "furious"]
    assert first.equals(again) and not first.equals(other)


def test_dose_zero_changes_nothing_and_the_dose_grows(model, course):
    response = dose_response(model, course.vectors, strengths=(0.0, 0.05, 0.2), emotions=("sad", "afraid"), n_random=4)
    assert abs(response.change[0]).max() < 1e-4 and abs(response.random[0]).max() < 1e-4
    assert (response.own(2) > response.own(1)).all() and response.change.shape == (3, 2, 2) and response.random.shape == (3, 4, 2)
    assert "own word up in" in response.summary(1)


def test_unsteered_text_is_the_same_for_every_emotion(model, course):
    texts = steered_texts(model, course.vectors, "Hi", emotions=("sad", "calm"), strengths=(0.0, 0.3), max_new_tokens=8)
    plain = texts[texts.strength == 0]
    assert plain.text.nunique() == 1 and (texts.perplexity >= 1).all()


def test_repetition():
    assert repetition("a b c d e f") == 0 and repetition("one two three four one two three four") == pytest.approx(1 / 5)
    assert repetition("short") == 0
