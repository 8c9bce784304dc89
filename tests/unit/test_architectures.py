"""Tiny random networks of every supported family go through capture, lens and steering, and agree with plain PyTorch hooks."""

import numpy as np
import pytest
import torch
import transformers
from nnsight import TransformersModel

from helpers.activations import capture, capture_tokens
from helpers.chat import Prompt
from helpers.lens import logit_lens
from helpers.models import wrap
from helpers.steering import answer_logprobs, generate, next_logprobs, shifted_by
from helpers.vectors import Direction

D, BLOCKS = 32, 4
_COMMON = dict(vocab_size=49152, hidden_size=D, num_hidden_layers=BLOCKS, num_attention_heads=4, intermediate_size=64, max_position_embeddings=256)


def _gemma_text():
    return dict(**_COMMON, num_key_value_heads=2, head_dim=8, sliding_window=16, layer_types=["sliding_attention", "full_attention"] * 2)


def _build(family: str):
    torch.manual_seed(0)
    if family == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_COMMON, num_key_value_heads=2)), "model.layers", "model.norm"
    if family == "qwen2":
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_COMMON, num_key_value_heads=2)), "model.layers", "model.norm"
    if family == "gemma3":
        return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**_gemma_text())), "model.layers", "model.norm"
    if family == "gemma3-wrapped":
        vision = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
        config = transformers.Gemma3Config(text_config=_gemma_text(), vision_config=vision, mm_tokens_per_image=4)
        return transformers.Gemma3ForConditionalGeneration(config), "model.language_model.layers", "model.language_model.norm"
    if family == "gpt2":
        config = transformers.GPT2Config(vocab_size=49152, n_embd=D, n_layer=BLOCKS, n_head=4, n_positions=256)
        return transformers.GPT2LMHeadModel(config), "transformer.h", "transformer.ln_f"
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**_COMMON)), "gpt_neox.layers", "gpt_neox.final_layer_norm"


FAMILIES = ("llama", "qwen2", "gemma3", "gemma3-wrapped", "gpt2", "gpt-neox")


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request, model):
    """(wrapped model, torch network, its blocks, its final norm); weights scaled up so that blocks differ visibly."""
    network, blocks, norm = _build(request.param)
    network = network.eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 2 and "embed" not in name and "wte" not in name:
                weight.mul_(4)
    network.generation_config.eos_token_id = None  # let every row run to its length
    reach = lambda path: network.get_submodule(path)  # noqa: E731
    nn = TransformersModel(network, tokenizer=model.tokenizer, task="text-generation")
    return wrap(nn, request.param), network, reach(blocks), reach(norm)


PROMPTS = [Prompt("a", tuple(range(100, 100 + n)), {"body": tuple(range(3, n)), "last": (n - 1,)}) for n in (9, 17, 12)]


def _hooked(network, blocks, prompt):
    """Block outputs of one unpadded prompt from plain hooks, [block, token, d]."""
    got = {}
    handles = [block.register_forward_hook(lambda m, a, out, i=i: got.__setitem__(i, (out[0] if isinstance(out, tuple) else out).detach())) for i, block in enumerate(blocks)]
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([prompt.ids])).logits
    for handle in handles:
        handle.remove()
    return torch.stack([got[i][0] for i in range(len(blocks))]).numpy(), logits[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_equals_plain_hooks_on_single_texts(tiny, side):
    """PITFALLS 1, 2, 3, 4, 8: either padding side, real tokens counted, right block, wrapped models too."""
    wrapped, network, blocks, _ = tiny
    found = capture(wrapped, PROMPTS, ("body", "last"), side=side)
    for row, prompt in enumerate(PROMPTS):
        truth, _ = _hooked(network, blocks, prompt)
        np.testing.assert_allclose(found["body"].values[row], truth[:, 3:].mean(1), atol=2e-4, rtol=1e-3)
        np.testing.assert_allclose(found["last"].values[row], truth[:, -1], atol=2e-4, rtol=1e-3)
        np.testing.assert_allclose(found["body"].norms[row], np.linalg.norm(truth[:, 3:], axis=-1).mean(1), rtol=1e-3)


def test_some_blocks_only_and_tokens(tiny):
    wrapped, network, blocks, _ = tiny
    truth, _ = _hooked(network, blocks, PROMPTS[1])
    some = capture(wrapped, PROMPTS, ("body",), blocks=[2, 0])["body"]
    assert some.blocks == (0, 2)
    np.testing.assert_allclose(some.values[1], truth[[0, 2], 3:].mean(1), atol=2e-4, rtol=1e-3)
    np.testing.assert_allclose(capture_tokens(wrapped, PROMPTS[1], block=1), truth[1], atol=2e-4, rtol=1e-3)


def test_steering_moves_the_stream_by_strength_times_norm(tiny):
    """PITFALLS 5, 7, 11: it has an effect, once, and not at the sink."""
    wrapped, *_ = tiny
    axis = np.zeros(D, np.float32)
    axis[3] = 1
    push = 0.25 * Direction(axis, 2, norm=8.0)
    moved = shifted_by(wrapped, PROMPTS[1], push)
    np.testing.assert_allclose(np.linalg.norm(moved[1:], axis=1), 2.0, rtol=1e-3)
    np.testing.assert_allclose(moved[0], 0, atol=1e-6)


def test_steered_logprobs_equal_a_plain_hook(tiny):
    wrapped, network, blocks, _ = tiny
    prompt = PROMPTS[1]
    push = 0.5 * Direction(np.eye(D, dtype=np.float32)[5], 1, norm=6.0)

    def hook(module, args, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[:, 1:] += torch.from_numpy(push.shift)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    handle = blocks[1].register_forward_hook(hook)
    _, truth = _hooked(network, blocks, prompt)
    handle.remove()
    _, plain = _hooked(network, blocks, prompt)
    got = next_logprobs(wrapped, prompt, [push, None], [7, 70, 700])
    for row, logits in zip(got, (truth, plain)):
        np.testing.assert_allclose(row, torch.log_softmax(logits[-1], -1)[[7, 70, 700]].numpy(), atol=1e-3)
    assert np.abs(got[0] - got[1]).max() > 1e-3
    answered = Prompt("b", prompt.ids, {"answer": (14, 15, 16)})
    expected = torch.log_softmax(truth, -1)[[13, 14, 15], list(prompt.ids[14:17])].mean()
    short = Prompt("c", PROMPTS[0].ids, {"answer": (8,)})
    assert answer_logprobs(wrapped, [answered, short], [push, None])[0] == pytest.approx(float(expected), abs=1e-3)


def test_strength_zero_is_the_identity_and_rows_are_steered_apart(tiny):
    wrapped, *_ = tiny
    push = Direction(np.eye(D, dtype=np.float32)[5], 1, norm=60.0)
    zero, none, far = generate(wrapped, [PROMPTS[0]] * 3, [0.0 * push, None, 1.0 * push], max_new_tokens=6)
    assert zero.ids == none.ids and len(zero.ids) == 6
    assert far.ids != none.ids
    alone = generate(wrapped, [PROMPTS[0]], None, max_new_tokens=6)[0]
    assert alone.ids == none.ids and alone.steered_steps == 0 and far.steered_steps == 6


def test_logit_lens_applies_the_final_norm(tiny):
    wrapped, network, _, norm = tiny
    rng = np.random.default_rng(0)
    base, row = rng.standard_normal((2, D)).astype(np.float32)
    head = network.get_output_embeddings()
    with torch.no_grad():
        truth = (head(norm(torch.from_numpy(base + row))) - head(norm(torch.from_numpy(base)))).numpy()
    np.testing.assert_allclose(logit_lens(wrapped, row[None], base)[0], truth, atol=1e-4)


def test_hooks_are_gone_after_an_exception(tiny):
    wrapped, network, blocks, _ = tiny
    before = _hooked(network, blocks, PROMPTS[0])[1]
    with pytest.raises(Exception):
        with torch.no_grad(), wrapped.nn.trace({"input_ids": torch.tensor([PROMPTS[0].ids])}):
            wrapped.blocks[1].output = wrapped.blocks[1].output + 100
            raise RuntimeError("in the middle")
    after = _hooked(network, blocks, PROMPTS[0])[1]
    torch.testing.assert_close(before, after)


def test_a_model_without_known_parts_names_the_paths_tried(model):
    class Odd(torch.nn.Module):
        device = torch.device("cpu")

    class Fake:
        _module = Odd()
        tokenizer = model.tokenizer

    with pytest.raises(ValueError, match="cannot find the blocks of odd.*tried model.layers.*transformer.h"):
        wrap(Fake(), "odd")
