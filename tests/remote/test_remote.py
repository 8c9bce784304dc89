"""The same helpers with `remote=True`, through nnsight's client and protocol to another process, equal to the local numbers."""

import numpy as np
import pytest

from helpers.activations import capture, capture_means, capture_tokens
from helpers.chat import chat, continuation, plain
from helpers.corpus import read_neutral
from helpers.errors import CourseError
from helpers.lens import logit_lens, read_emotions
from helpers.models import load_model
from helpers.steering import answer_logprobs, generate, next_logprobs, shifted_by
from helpers.vectors import Direction

TEXTS = list(read_neutral().text[:3])


@pytest.fixture
def far(ndif):
    return load_model("smollm2-135m", remote=True)


@pytest.fixture(scope="module")
def push():
    axis = np.zeros(576, np.float32)
    axis[7] = 1
    return 0.3 * Direction(axis, 19, norm=218.0)


def test_the_skeleton_holds_no_weights(far, model):
    assert far.nn._module.device.type == "meta" and (far.n_blocks, far.d, far.revision) == (model.n_blocks, model.d, model.revision)


def test_capture(far, model):
    prompts = [plain(model, text) for text in TEXTS]
    here, there = (capture(m, prompts, ("body", "words"), blocks=[0, 19, 29]) for m in (model, far))
    for span in ("body", "words"):
        np.testing.assert_allclose(there[span].values, here[span].values, atol=1e-3)
        np.testing.assert_allclose(there[span].norms, here[span].norms, rtol=1e-5)


def test_capture_at_all_blocks_stops_nowhere(far, model):
    np.testing.assert_allclose(capture_means(far, TEXTS[:1], cache=False).values, capture_means(model, TEXTS[:1], cache=False).values, atol=1e-3)


def test_tokens_and_lenses(far, model, course):
    prompt = plain(model, TEXTS[0], 0)
    np.testing.assert_allclose(capture_tokens(far, prompt, block=19), capture_tokens(model, prompt, block=19), atol=2e-2, rtol=1e-4)
    rows, base = np.eye(576, dtype=np.float32)[:2] * 20, np.ones(576, np.float32)
    np.testing.assert_allclose(logit_lens(far, rows, base), logit_lens(model, rows, base), atol=1e-3)
    np.testing.assert_allclose(read_emotions(far, course.vectors, TEXTS[0]).values, read_emotions(model, course.vectors, TEXTS[0]).values, atol=1e-3)


def test_steering(far, model, push):
    prompt = chat(model, "How do you feel?", prefill="I feel")
    np.testing.assert_allclose(next_logprobs(far, prompt, [None, push], [10, 20]), next_logprobs(model, prompt, [None, push], [10, 20]), atol=1e-3)
    answer = continuation(model, prompt, " fine, thank you.")
    np.testing.assert_allclose(answer_logprobs(far, [answer, answer], [None, push]), answer_logprobs(model, [answer, answer], [None, push]), atol=1e-3)
    np.testing.assert_allclose(shifted_by(far, prompt, push), shifted_by(model, prompt, push), atol=1e-2)
    for positions in ("all", "prompt", "generated"):
        here, there = (generate(m, [prompt, chat(model, "Hi")], [push, None], max_new_tokens=8, positions=positions) for m in (model, far))
        assert here == there


def _one_line(call, *parts):
    with pytest.raises(CourseError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    for part in parts:
        assert part in text


def test_a_wrong_key(far, ndif, monkeypatch):
    monkeypatch.setattr(ndif.API, "APIKEY", "not-the-key")
    _one_line(lambda: capture_tokens(far, plain(far, TEXTS[0], 0), block=3), "refused the key", "NDIF_API_KEY")


def test_a_model_the_server_does_not_hold(ndif, tmp_path):
    import shutil

    from helpers.models import embedded_folder

    folder = tmp_path / "another"
    shutil.copytree(embedded_folder(), folder, ignore=lambda d, names: [n for n in names if n.endswith(".safetensors")])
    other = load_model(str(folder), remote=True)
    _one_line(lambda: capture_tokens(other, plain(other, TEXTS[0], 0), block=3), "another", "not deployed")


def test_a_server_that_is_not_there(far, ndif, monkeypatch):
    monkeypatch.setattr(ndif.API, "HOST", "http://127.0.0.1:9")
    _one_line(lambda: generate(far, [chat(far, "Hi")], None, max_new_tokens=2), "cannot reach", "http://127.0.0.1:9")


def test_a_failure_on_the_server_is_one_line(far, model):
    """A request that is wrong only there: a width that does not fit."""
    wrong = Direction(np.ones(576, np.float32), 19, norm=1.0)
    good = generate(far, [chat(model, "Hi")], [0.1 * wrong], max_new_tokens=2)
    assert good[0].steered_steps == 2
    _one_line(lambda: logit_lens(far, np.ones((1, 575), np.float32), np.ones(575, np.float32)), "the server could not run it")
