"""The corpus is what the card says; what cannot be used is refused by name."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from helpers.corpus import (TWELVE, check_crossed, check_emotion, corpus_hash, emotion_names, read_appraisals, read_implicit, read_intensity, read_neutral, read_ratings, read_stories,
                            read_table, read_topics)
from helpers.errors import CourseError
from helpers.lint import MIN_TOKENS, REASONS, leaks, lint
from helpers.paths import DATA


@pytest.fixture(scope="module")
def stories():
    return read_stories()


def test_the_corpus_is_fully_crossed(stories):
    assert len(emotion_names()) == 171
    assert len(stories) == 171 * len(read_topics())
    assert (stories.groupby(["emotion", "topic"]).size() == 1).all()


def test_the_corpus_passes_its_lint(stories, model):
    report = lint(stories, count_tokens=lambda text: len(model.tokenizer(text)["input_ids"]), emotions=emotion_names(), topics=tuple(read_topics().topic))
    assert report.counts.to_dict() == dict.fromkeys(REASONS, 0), str(report) + "\n" + report.problems.head(20).to_string()


def test_first_and_third_person_are_balanced_over_emotions_and_topics(stories):
    first = stories.person == "first"
    assert 0.45 < first.mean() < 0.55
    assert first.groupby(stories.topic).mean().between(0.45, 0.55).all()


def test_ratings_are_the_cited_ones():
    """PITFALLS 13: the figures of the two cited norm sets, unchanged."""
    content = (DATA / "emotions.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "6a3f49c0469b71bd65181811c765195b99afa6973222c33e00c58d6a41b6b32e"
    ratings = read_ratings()
    assert ratings.rm1977_pleasure.notna().sum() == 45 and ratings.glasgow2019_valence.notna().sum() == 82
    assert ratings.loc["bored", "rm1977_arousal"] == -0.62 and ratings.loc["happy", "glasgow2019_valence"] == 8.242


def test_appraisals_cover_every_emotion_and_no_two_share_a_phrase():
    appraisals = read_appraisals()
    assert sorted(appraisals.index) == sorted(emotion_names())
    for column in ("happened", "urge", "body"):
        assert not appraisals[column].duplicated().any()


def test_other_texts_have_their_sizes(model):
    assert read_neutral().kind.value_counts().to_dict() == {"dialogue": 80, "narrative": 40}
    assert min(len(model.tokenizer(t)["input_ids"]) for t in read_neutral().text) >= MIN_TOKENS
    assert sorted(read_implicit("main").emotion) == sorted(TWELVE)
    assert read_implicit("heldout").emotion.value_counts().to_dict() == dict.fromkeys(TWELVE, 2)
    assert len(read_topics(more=True)) == 100
    templates = read_intensity()
    assert len(templates) == 6 and templates["values"].map(len).min() >= 8
    assert all("{value}" in text and "5" in text.format(value=5) for text in templates.text)


def test_implicit_prompts_name_no_emotion_of_the_twelve():
    banned = read_appraisals().banned
    for row in pd.concat([read_implicit("main"), read_implicit("heldout")]).itertuples():
        assert leaks(row.prompt, row.emotion, banned[row.emotion]) == [], row.id


def test_neutral_texts_name_no_emotion_of_the_twelve():
    for row in read_neutral().itertuples():
        for emotion in TWELVE:
            assert [f for f in leaks(row.text, emotion, "") if f[0] == "leak"] == [], (row.id, emotion)


# Lint: each reason is found, and only where it should be ------------------------------------------------------------------------------

_FILL = "The ferry was late and the boards were wet under him and he counted the ropes again while gulls walked the rail and somebody folded a newspaper into quarters near the gate "


def _table(**changes):
    base = dict(emotion="afraid", topic="t", person="third", text=_FILL * 4)
    return pd.DataFrame([{**base, **changes}])


@pytest.mark.parametrize("reason, changes", [
    ("leak", dict(text="He was afraid. " + _FILL * 4)),
    ("inflection", dict(emotion="annoyed", text="It annoys him. " + _FILL * 4)),
    ("synonym", dict(text="Pure terror. " + _FILL * 4)),
    ("refusal", dict(text="As an AI, writing this is hard. " + _FILL * 4)),
    ("length", dict(text=_FILL)),
    ("person", dict(text="I wait. " + _FILL * 4)),
    ("person", dict(person="first")),
])
def test_lint_finds(reason, changes):
    counts = lint(_table(**changes), banned=pd.Series({"afraid": "terror*", "annoyed": ""})).counts
    assert counts[reason] == 1 and counts.sum() == 1


def test_lint_finds_what_needs_several_stories():
    a, b = _FILL * 4, "Otherwise nothing here is like it, each word its own, " * 12
    twins = pd.DataFrame([("afraid", "t", "third", a), ("afraid", "u", "third", a + " x"), ("angry", "t", "third", b)], columns=["emotion", "topic", "person", "text"])
    report = lint(twins, banned=pd.Series(dtype=str))
    assert report.counts["near-duplicate"] == 1 and report.counts["missing cell"] == 1 and report.counts["person balance"] == 1
    openings = pd.DataFrame([("afraid", t, "third", f"Now he went there, {t} " + w * 100) for t, w in zip("abc", ("one ", "two ", "six "))], columns=twins.columns)
    assert lint(openings, banned=pd.Series(dtype=str)).counts["repeated opening"] == 3


def test_lint_leaves_innocent_text_alone():
    assert lint(_table(), banned=pd.Series({"afraid": "fear*;scare;scares"})).counts.sum() == 0
    assert leaks("She said the beard was careful work", "scared", "scare;scares;fear*") == []
    assert leaks('"I am so sorry," said the beard, "as an AI"', "calm", "calm*") == []


def test_lint_sees_words_with_spaces_and_hyphens():
    assert leaks("She sat at ease there", "at ease", "")[0][0] == "leak"
    assert leaks("a grief stricken town", "grief-stricken", "")[0][0] == "leak"
    assert leaks("on the edge of the table", "on edge", "") == []


# Bad input -----------------------------------------------------------------------------------------------------------------------------


def _one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("name, near", [("hapy", "happy"), ("Grief striken", "grief-stricken"), ("at eaze", "at ease")])
def test_unknown_emotion_names_the_nearest(name, near):
    with pytest.raises(CourseError) as error:
        check_emotion(name)
    assert near in _one_line(error)


def test_emotion_names_with_spaces_and_hyphens_in_any_spelling():
    assert check_emotion("At_Ease") == "at ease" and check_emotion("grief stricken") == "grief-stricken" and check_emotion(" self-conscious ") == "self-conscious"


def test_files_that_cannot_be_read(tmp_path, stories):
    some = stories[stories.emotion.isin(["calm", "sad"])]
    good = tmp_path / "stories.csv"
    some.to_csv(good, index=False)
    assert len(read_stories(good)) == len(some)
    cases = {
        "no file": (tmp_path / "storys.csv", "did you mean 'stories.csv'"),
        "empty": (_write(tmp_path / "empty.csv", b""), "not a readable CSV"),
        "header": (_write(tmp_path / "header.csv", b"emotion,topic,person,text\n"), "no rows"),
        "encoding": (_write(tmp_path / "latin.csv", "emotion,topic,person,text\ncalm,t,first,caf\xe9\n".encode("latin-1")), "not UTF-8"),
        "column": (_write(tmp_path / "column.csv", b"emotion,topic,text\ncalm,t,x\n"), "no column 'person'"),
        "blank": (_write(tmp_path / "blank.csv", b"emotion,topic,person,text\ncalm,t,first,\n"), "empty story: emotion 'calm', topic 't'"),
        "twice": (_write(tmp_path / "twice.csv", b"emotion,topic,person,text\ncalm,t,first,x\nsad,t,first,x\n"), "duplicated story: emotion 'sad'"),
        "hole": (_write(tmp_path / "hole.csv", b"emotion,topic,person,text\ncalm,t,first,x\nsad,t,first,y\nsad,u,first,z\n"), "emotion 'calm' on topic 'u' has 0"),
        "double": (_write(tmp_path / "double.csv", b"emotion,topic,person,text\ncalm,t,first,x\nsad,t,first,y\nsad,t,first,z\n"), "unbalanced corpus"),
    }
    for path, message in cases.values():
        with pytest.raises(CourseError) as error:
            read_stories(path)
        assert message in _one_line(error)


def _write(path, content):
    path.write_bytes(content)
    return path


def test_topics_out_of_range_and_unknown_sets():
    with pytest.raises(CourseError, match="topics=0: expected 1 to"):
        read_stories(topics=0)
    with pytest.raises(CourseError, match="did you mean 'heldout'"):
        read_implicit("held-out")
    with pytest.raises(CourseError, match="no column 'nothing'"):
        read_table(DATA / "topics.csv", ["nothing"])


def test_the_corpus_hash_sees_any_change(stories):
    changed = stories.copy()
    changed.loc[7, "text"] += "."
    assert corpus_hash(stories) == corpus_hash(stories.sample(frac=1, random_state=0)) != corpus_hash(changed)
    relabelled = stories.copy()
    relabelled.loc[[0, 300], "emotion"] = relabelled.loc[[300, 0], "emotion"].to_numpy()
    assert corpus_hash(relabelled) != corpus_hash(stories)


def test_crossed_accepts_what_is_crossed(stories):
    check_crossed(stories[stories.topic.isin(np.unique(stories.topic)[:2])])
