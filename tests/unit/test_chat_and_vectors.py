"""Named places in a prompt, the algebra of directions, and artefacts that refuse to be misused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.artifacts import CONVENTION, read_artifact, write_tensors
from helpers.chat import chat, continuation, plain, token_texts, with_span
from helpers.course import check_live, load_course
from helpers.errors import CourseError
from helpers.models import default_block, load_model
from helpers.vectors import Direction, EmotionVectors


def _text(model, prompt, span):
    return model.tokenizer.decode([prompt.ids[i] for i in prompt.span(span)])


def test_spans_cover_what_they_name(model):
    prompt = chat(model, "My cat is asleep.", prefill="I think")
    assert _text(model, prompt, "user") == "My cat is asleep."
    assert _text(model, prompt, "user_end") == "."
    assert prompt.span("assistant")[0] == len(prompt) - 1 - len(prompt.span("prefill"))
    assert _text(model, prompt, "prefill") == "I think"
    assert _text(model, with_span(model, prompt, "cat", "cat"), "cat").strip() == "cat"
    tail = continuation(model, prompt, " so too.")
    assert _text(model, tail, "answer") == " so too." and tail.ids[: len(prompt)] == prompt.ids


def test_the_user_span_is_the_last_place_the_words_stand(model):
    """The system prompt of this model holds words a user may type too."""
    prompt = chat(model, "Hugging Face", system="You like Hugging Face.")
    assert _text(model, prompt, "user") == "Hugging Face" and prompt.span("user")[0] > 12


def test_one_start_token(model):
    """PITFALLS 9."""
    assert chat(model, "Hi").ids.count(model.tokenizer.bos_token_id) == chat(model, "Hi").text.count(model.tokenizer.bos_token)


def test_plain_counts_real_tokens(model):
    prompt = plain(model, "word " * 80, skip=50)
    assert prompt.span("body")[0] == 50 and prompt.span("words")[0] == 1
    assert "".join(token_texts(model, prompt.ids)) == "word " * 80


@pytest.mark.parametrize("call, message", [
    (lambda m: chat(m, "Hi").span("asistant"), "unknown span 'asistant': did you mean 'assistant'"),
    (lambda m: with_span(m, chat(m, "Hi"), "x", "absent"), "'absent' does not occur"),
    (lambda m: continuation(m, chat(m, "Hi"), ""), "empty continuation"),
    (lambda m: load_model("smollm2-135"), "did you mean 'smollm2-135m'"),
    (lambda m: load_model("smollm2-135m", dtype=__import__("torch").float16), "float16 overflows"),
    (lambda m: load_model("nobody/nothing-7b"), "cannot load model 'nobody/nothing-7b'.*works without a network"),
])
def test_bad_input_is_one_line(model, call, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CourseError, match=message) as error:
        call(model)
    assert "\n" not in str(error.value)


def test_weights_that_are_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr("helpers.models.importlib.util.find_spec", lambda name: None)
    with pytest.raises(CourseError, match="weights of smollm2-135m are not installed: run `make setup`"):
        load_model("smollm2-135m")


def test_remote_without_a_key(monkeypatch):
    monkeypatch.delenv("NDIF_API_KEY", raising=False)
    monkeypatch.setattr("helpers.models._nnsight_key", lambda: None)
    with pytest.raises(CourseError, match="needs an NDIF key: set NDIF_API_KEY"):
        load_model("smollm2-135m", remote=True)


def test_errors_show_as_one_line_in_a_notebook():
    assert CourseError("unknown thing")._render_traceback_() == ["CourseError: unknown thing"]


def test_default_block_is_fixed():
    assert [default_block(n) for n in (30, 18, 32, 80, 1)] == [19, 11, 20, 52, 0]


def test_algebra_of_directions():
    a, b = (Direction(np.eye(4, dtype=np.float32)[i], 3, norm=10.0) for i in (0, 1))
    mixed = 0.3 * a - 0.4 * b
    np.testing.assert_allclose(mixed.shift, [3, -4, 0, 0], atol=1e-6)
    assert mixed.strength == pytest.approx(0.5)
    np.testing.assert_allclose((a + b - b).vector, a.vector)
    np.testing.assert_allclose((-(2 * a)).vector, (a * -2).vector)
    with pytest.raises(CourseError, match="block 5 to one of block 3"):
        a + replace(b, block=5)


def test_vectors_by_name(course):
    vectors = course.vectors
    assert vectors["grief-stricken"].strength == pytest.approx(1, abs=1e-5) and vectors["At ease"].block == vectors.default
    with pytest.raises(CourseError, match="unknown emotion 'desparate': did you mean 'desperate'"):
        vectors["desparate"]
    with pytest.raises(CourseError, match="no vectors at block 30: these hold blocks 0 to 29"):
        vectors.at(30)
    with pytest.raises(CourseError, match="denoised already"):
        vectors.denoise(course.neutral)
    with pytest.raises(CourseError, match="share = 1.5: expected"):
        course.raw.denoise(course.neutral, share=1.5)


def test_vectors_of_another_model_are_refused(course, model):
    """PITFALLS 22."""
    with pytest.raises(CourseError, match="come from smollm2-135m .* not from other"):
        course.vectors.check_model(replace(model, name="other"))


def test_replay_agrees_with_live(course, model):
    assert check_live(course, model, n=4, seed=1) > 0.999


def test_replay_that_does_not_agree_is_refused(course, model):
    values = course.story_means.values.copy()
    values[:, :, :] = values[::-1]
    with pytest.raises(CourseError, match="live and stored means disagree"):
        check_live(replace(course, story_means=replace(course.story_means, values=values)), model, n=2, seed=1)


def test_a_neighbouring_story_is_not_taken_for_the_same(course, model):
    """Bare means of any two stories agree to 0.97 and more; the check must still tell the very next story from the right one."""
    values = np.roll(course.story_means.values, 1, axis=0)
    with pytest.raises(CourseError, match=r"disagree \(cosine (-?0\.[0-8]|0\.9[0-4])"):
        check_live(replace(course, story_means=replace(course.story_means, values=values)), model, n=3, seed=2)


def test_vectors_are_the_story_means_they_come_with(course):
    """The two halves of the artefact tell one story: difference of means at the default block, to half precision."""
    again = EmotionVectors.from_means(course.story_means, course.stories.emotion, default=course.raw.default)
    cosine = (again.unit() * course.raw.unit()).sum(1)
    assert cosine.min() > 0.999


def test_save_and_load_round_trip(course, tmp_path):
    course.raw.save(tmp_path / "v.safetensors")
    again = EmotionVectors.load(tmp_path / "v.safetensors", {"model": "smollm2-135m"})
    assert again.emotions == course.raw.emotions and again.blocks == course.raw.blocks and again.default == course.raw.default
    np.testing.assert_allclose(again.raw, course.raw.raw, atol=1e-2, rtol=1e-3)
    assert again.provenance["corpus"] == course.raw.provenance["corpus"]


@pytest.mark.parametrize("damage, message", [
    (lambda f: f.unlink(), "no artefact v.safetensors"),
    (lambda f: f.write_bytes(f.read_bytes()[:1000]), "damaged artefact v.safetensors"),
    (lambda f: f.write_bytes(b"not a tensor file at all"), "damaged artefact v.safetensors"),
    (lambda f: write_tensors(f, {"raw": np.ones(3, np.float32)}), "foreign artefact v.safetensors"),
    (lambda f: write_tensors(f, {"raw": np.ones(3, np.float32)}, {"model": "other", "convention": CONVENTION}), "made with model = 'other', expected 'smollm2-135m'"),
    (lambda f: write_tensors(f, {"raw": np.ones(3, np.float32)}, {"model": "smollm2-135m", "convention": "hidden_states"}), "made with convention = 'hidden_states'"),
])
def test_artefacts_that_must_not_be_used(course, tmp_path, damage, message):
    file = tmp_path / "v.safetensors"
    course.raw.save(file)
    damage(file)
    with pytest.raises(CourseError, match=message) as error:
        EmotionVectors.load(file, {"model": "smollm2-135m"})
    assert "\n" not in str(error.value)


def test_a_changed_corpus_refuses_the_artefact(model, monkeypatch):
    monkeypatch.setattr("helpers.course.corpus_hash", lambda stories: "0" * 12)
    with pytest.raises(CourseError, match="made with corpus = .*, expected '000000000000'"):
        load_course(model)


def test_provenance_says_everything(course):
    made = course.raw.provenance
    assert {"model", "revision", "convention", "corpus", "dtype", "seed", "date", "command", "skip"} <= set(made)
    json.dumps(dict(made))


def test_artefact_arrays_have_no_pickles(course):
    from helpers.paths import artifact_dir

    files = sorted(f.name for f in artifact_dir("smollm2-135m").iterdir())
    assert files == ["neutral.safetensors", "openings.safetensors", "stories.safetensors", "vectors.safetensors"]
    arrays, _ = read_artifact(artifact_dir("smollm2-135m") / "vectors.safetensors")
    assert arrays["raw"].shape == (171, 30, 576)
