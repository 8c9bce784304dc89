"""Capture on the real model: positions, resume, damage, a full disk, memory. Nothing lost, nothing half-written read, nothing done twice."""

import errno
import gc

import numpy as np
import psutil
import pytest
import torch

import helpers.activations as activations
from helpers.activations import batches, capture, capture_means, capture_tokens, pad, real_positions
from helpers.artifacts import read_tensors, write_tensors
from helpers.chat import Prompt, plain
from helpers.corpus import read_neutral
from helpers.errors import CourseError


@pytest.fixture(scope="module")
def texts():
    return list(read_neutral().text[:5])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "CACHE", tmp_path)
    return tmp_path


def test_means_equal_transformers_hidden_states(model, texts):
    """PITFALLS 2, 8, 11: real tokens from the 50th on, block i output is hidden_states[i + 1], on the real model."""
    found = capture_means(model, texts, blocks=[0, 19, 28], cache=False)
    for row, text in enumerate(texts):
        ids = model.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = model.nn._module(**ids, output_hidden_states=True).hidden_states
        for block in found.blocks:
            truth = states[block + 1][0, 50:]
            np.testing.assert_allclose(found.at(block)[row], truth.mean(0).numpy(), atol=2e-3, rtol=1e-3)
            np.testing.assert_allclose(found.norms[row, found.blocks.index(block)], truth.norm(dim=-1).mean(), rtol=1e-4)


def test_batch_equals_single_either_side(model, texts):
    prompts = [plain(model, text) for text in texts]
    single = np.concatenate([capture(model, [p], ("body",), blocks=[19])["body"].values for p in prompts])
    for side in ("left", "right"):
        np.testing.assert_allclose(capture(model, prompts, ("body",), blocks=[19], side=side)["body"].values, single, atol=2e-3)


def test_the_sink_is_real_and_left_out(model, texts):
    norms = np.linalg.norm(capture_tokens(model, plain(model, texts[0], 0), block=19), axis=1)
    assert norms[0] > 50 * np.median(norms[1:])
    assert 0 not in plain(model, texts[0], 0).span("words")


def test_positions_come_from_the_mask(model):
    batch = pad(model, [Prompt("", (5, 6, 7), {}), Prompt("", (5,), {})], side="left")
    assert real_positions(batch["attention_mask"]).tolist() == [[0, 1, 2], [-1, -1, 0]]
    batch = pad(model, [Prompt("", (5, 6, 7), {}), Prompt("", (5,), {})], side="right")
    assert real_positions(batch["attention_mask"]).tolist()[1][0] == 0


def test_batches_cover_every_row_once_within_the_limit():
    lengths = np.random.default_rng(0).integers(10, 300, 200).tolist()
    groups = list(batches(lengths, 1024))
    assert sorted(i for g in groups for i in g) == list(range(200))
    assert all(len(g) == 1 or max(lengths[i] for i in g) * len(g) <= 1024 for g in groups)
    assert list(batches([5000], 1024)) == [[0]]


def test_an_interrupt_keeps_finished_batches(model, texts, cache, monkeypatch):
    prompts, real, calls = [plain(model, t) for t in texts], activations._traced, []

    def interrupted(*args):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(activations, "_traced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        capture(model, prompts, ("body",), blocks=[3], cache=True, max_tokens=200)
    assert len(list(cache.rglob("*.safetensors"))) == 2 and not list(cache.rglob(".*.safetensors.*"))
    calls.clear()
    monkeypatch.setattr(activations, "_traced", lambda *args: calls.append(1) or real(*args))
    again = capture(model, prompts, ("body",), blocks=[3], cache=True, max_tokens=200)["body"]
    assert len(calls) == len(prompts) - 2  # the finished two were not read again
    np.testing.assert_array_equal(again.values, capture(model, prompts, ("body",), blocks=[3], max_tokens=200)["body"].values)
    calls.clear()
    capture(model, prompts, ("body",), blocks=[3], cache=True, max_tokens=200)
    assert not calls and len(list(cache.rglob("*.safetensors"))) == 1


def test_a_damaged_cache_is_made_again(model, texts, cache):
    first = capture_means(model, texts[:2], blocks=[2])
    file = next(cache.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(capture_means(model, texts[:2], blocks=[2]).values, first.values)
    assert read_tensors(file) is not None


def test_other_texts_spans_blocks_or_models_are_other_captures(model, texts):
    from dataclasses import replace

    p = [plain(model, t) for t in texts[:2]]
    keys = {activations._key(model, p, ("body",), (2,)), activations._key(model, p[:1], ("body",), (2,)), activations._key(model, p, ("words",), (2,)),
            activations._key(model, p, ("body",), (3,)), activations._key(replace(model, revision="other"), p, ("body",), (2,))}
    assert len(keys) == 5


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    write_tensors(tmp_path / "a.safetensors", {"x": np.ones(3, np.float32)})

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("helpers.artifacts.os.replace", full)
    with pytest.raises(CourseError, match="cannot write a.safetensors: No space left on device; what was finished before is kept") as error:
        write_tensors(tmp_path / "a.safetensors", {"x": np.zeros(3, np.float32)})
    assert "\n" not in str(error.value)
    assert [f.name for f in tmp_path.iterdir()] == ["a.safetensors"]
    np.testing.assert_array_equal(read_tensors(tmp_path / "a.safetensors")["x"], np.ones(3))


def test_out_of_memory_halves_the_batch_and_goes_on(model, texts, monkeypatch):
    prompts, real, sizes = [plain(model, t) for t in texts[:4]], activations._traced, []

    def small(m, part, *rest):
        sizes.append(len(part))
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(m, part, *rest)

    expected = capture(model, prompts, ("body",), blocks=[2])["body"].values
    monkeypatch.setattr(activations, "_traced", small)
    np.testing.assert_allclose(capture(model, prompts, ("body",), blocks=[2], max_tokens=10_000)["body"].values, expected, atol=2e-3)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]


def test_another_error_is_not_taken_for_memory(model, texts, monkeypatch):
    def broken(*args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(activations, "_traced", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        capture(model, [plain(model, t) for t in texts[:2]], ("body",), blocks=[2])


def test_infinite_numbers_name_the_block(model, texts, monkeypatch):
    """PITFALLS 10."""
    real = activations._traced

    def overflow(*args):
        out = real(*args).copy()
        out[:, :, 1] = np.inf
        return out

    monkeypatch.setattr(activations, "_traced", overflow)
    with pytest.raises(CourseError, match="block 7 of smollm2-135m gave infinite or undefined numbers in float32"):
        capture(model, [plain(model, texts[0])], ("body",), blocks=[2, 7])


@pytest.mark.parametrize("texts, message", [([], "nothing to capture"), (["too short"], "text too short: 2 tokens where the mean starts at token 50"), (["   "], "empty text")])
def test_texts_that_cannot_be_read(model, texts, message):
    """PITFALLS 21."""
    with pytest.raises(CourseError, match=message):
        capture_means(model, texts, cache=False)


@pytest.mark.parametrize("blocks", [[30], [-1], [1.5], [True]])
def test_blocks_that_do_not_exist(model, blocks):
    with pytest.raises(CourseError, match="smollm2-135m has blocks 0 to 29"):
        capture_means(model, ["x " * 60], blocks=blocks, cache=False)


def test_memory_stays_flat_over_200_batches(model):
    """PITFALLS 28."""
    prompt, process, marks = Prompt("", tuple(range(300, 312)), {"body": (5, 6)}), psutil.Process(), []
    for batch in range(200):
        capture(model, [prompt], ("body",), blocks=[0, 1, 2])
        if batch in (49, 199):
            gc.collect()
            marks.append(process.memory_info().rss / 2**20)
    assert marks[1] - marks[0] < 20  # MiB over 150 batches
