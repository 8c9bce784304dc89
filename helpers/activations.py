"""Read the residual stream: the mean over a span of tokens, at any blocks, for many texts, keeping only the reductions.

Every read here is a weighted mean over tokens, so that one trace serves stories (token 50 on), prompts (the user's words) and
single positions (the assistant's start). The same trace runs here or, for a model loaded with `remote=True`, on NDIF.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from helpers.artifacts import read_tensors, write_tensors
from helpers.chat import Prompt, plain
from helpers.errors import CourseError
from helpers.models import Model, check_blocks
from helpers.paths import CACHE, slug
from helpers.remote import one_line_errors

_VERSION = 1  # part of the cache key: raise it when the numbers a capture gives change


@dataclass(frozen=True)
class Activations:
    """Mean residual stream per text and block.

    Attributes:
        values: [text, block, d] float32, the mean over the span's tokens of each block's output.
        norms: [text, block] float32, the mean over the span's tokens of the residual stream's length.
        blocks: which block outputs, 0-based.
        model, revision, dtype: where they were read.
        span: which tokens, e.g. `body` with skip = 50.
    """

    values: Float[np.ndarray, "text block d"]
    norms: Float[np.ndarray, "text block"]
    blocks: tuple[int, ...]
    model: str
    revision: str
    dtype: str
    span: str

    def __len__(self) -> int:
        return len(self.values)

    def at(self, block: int) -> Float[np.ndarray, "text d"]:
        """The rows of one block."""
        if block not in self.blocks:
            raise CourseError(f"block {block} was not captured: these activations hold blocks {list(self.blocks)}")
        return self.values[:, self.blocks.index(block)]

    def take(self, rows: Sequence[int] | np.ndarray) -> Activations:
        """The same reading for some of the texts."""
        return replace(self, values=self.values[rows], norms=self.norms[rows])


def capture_means(model: Model, texts: Sequence[str], *, skip: int = 50, blocks: Sequence[int] | None = None, cache: bool = True) -> Activations:
    """Mean of every block's output from real token `skip` on, one row a text (Sofroniew et al. 2026: from the 50th token).

    Raises CourseError for a text that has no token there. Long captures show progress, survive an interrupt (finished batches are
    kept) and are not done twice.
    """
    prompts = [plain(model, text, skip) for text in tqdm(texts, desc="tokens", delay=2, leave=False)]
    return capture(model, prompts, ("body",), blocks=blocks, cache=cache)["body"]


def capture(model: Model, prompts: Sequence[Prompt], spans: Sequence[str], *, blocks: Sequence[int] | None = None,
            cache: bool = False, max_tokens: int = 1024, side: str = "left") -> dict[str, Activations]:
    """Mean over each named span of each prompt at the given blocks (default all), by span name.

    Batches hold texts of like length and at most `max_tokens` tokens; a batch that does not fit in memory is halved.
    `side` is where padding goes; the result does not depend on it.
    """
    blocks = check_blocks(model, blocks)
    if not prompts:
        raise CourseError("nothing to capture: expected at least one text")
    for prompt in prompts:
        for span in spans:
            prompt.span(span)
    key = _key(model, prompts, spans, blocks)
    whole, parts = CACHE / "captures" / f"{slug(model.name)}-{key}.safetensors", CACHE / "captures" / f"{slug(model.name)}-{key}"
    stored = read_tensors(whole) if cache else None
    if stored is None:
        values = np.zeros((len(prompts), len(spans), len(blocks), model.d), np.float32)
        norms = np.zeros(values.shape[:3], np.float32)
        with tqdm(total=sum(map(len, prompts)), desc=f"reading {len(prompts)} texts", unit="tok", unit_scale=True, delay=2, leave=False) as bar:
            for number, rows in enumerate(batches([len(p) for p in prompts], max_tokens)):
                part = parts / f"{number:05d}.safetensors"
                done = read_tensors(part) if cache else None
                if done is None:
                    got = _fitting(model, [prompts[i] for i in rows], spans, blocks, side)
                    done = {"values": got[..., :-1], "norms": got[..., -1]}
                    _finite(model, done["values"], blocks)
                    if cache:
                        write_tensors(part, done)
                values[rows], norms[rows] = done["values"], done["norms"]
                bar.update(sum(len(prompts[i]) for i in rows))
        stored = {"values": values, "norms": norms}
        if cache:
            write_tensors(whole, stored)
            for file in parts.glob("*"):
                file.unlink()
            parts.rmdir()
    return {span: Activations(stored["values"][:, s], stored["norms"][:, s], blocks, model.name, model.revision, model.dtype, span)
            for s, span in enumerate(spans)}


def capture_tokens(model: Model, prompt: Prompt, *, block: int) -> Float[np.ndarray, "token d"]:
    """Block output at every token of one prompt. Token 0 is the attention sink: read it only to see how large it is."""
    check_blocks(model, [block])
    return _traced(model, [prompt], [np.eye(len(prompt), dtype=np.float32)], (block,), "left")[0, :, 0, :-1]


def batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Row numbers grouped by like length, shortest first, each group at most `max_tokens` after padding (or one row)."""
    group: list[int] = []
    for row in np.argsort(lengths, kind="stable").tolist():
        if group and lengths[row] * (len(group) + 1) > max_tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def pad(model: Model, prompts: Sequence[Prompt], side: str = "left") -> dict[str, torch.Tensor]:
    """Token ids and mask of a batch, [text, token]."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), model.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        at = width - len(prompt) if side == "left" else 0
        ids[row, at:at + len(prompt)] = torch.tensor(prompt.ids)
        mask[row, at:at + len(prompt)] = 1
    return {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}


def real_positions(mask: torch.Tensor) -> torch.Tensor:
    """Index of each real token from the mask, [text, token]; right for left and right padding alike."""
    return mask.long().cumsum(-1) - 1


def _fitting(model: Model, prompts: list[Prompt], spans: Sequence[str], blocks: tuple[int, ...], side: str) -> np.ndarray:
    weights = [_span_weights(prompt, spans) for prompt in prompts]
    try:
        return _traced(model, prompts, weights, blocks, side)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if len(prompts) == 1 or not (isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "memory" in str(error)):
            raise
        half = len(prompts) // 2
        return np.concatenate([_fitting(model, part, spans, blocks, side) for part in (prompts[:half], prompts[half:])])


def _span_weights(prompt: Prompt, spans: Sequence[str]) -> np.ndarray:
    weights = np.zeros((len(spans), len(prompt)), np.float32)
    for row, span in enumerate(spans):
        where = list(prompt.span(span))
        weights[row, where] = 1 / len(where)
    return weights


def _traced(model: Model, prompts: list[Prompt], weights: list[np.ndarray], blocks: tuple[int, ...], side: str) -> np.ndarray:
    """[text, span, block, d + 1]: the weighted mean of each block's output, and in the last place the weighted mean of its length."""
    inputs = pad(model, prompts, side)
    width = inputs["input_ids"].shape[1]
    spread = torch.zeros(len(prompts), len(weights[0]), width)
    for row, (prompt, weight) in enumerate(zip(prompts, weights)):
        at = width - len(prompt) if side == "left" else 0
        spread[row, :, at:at + len(prompt)] = torch.from_numpy(weight)
    layers, stop = [model.blocks[b] for b in blocks], blocks[-1] < model.n_blocks - 1
    with one_line_errors(model.name, model.remote):
        return _trace_means(model.nn, layers, inputs, spread.to(model.device), stop, model.remote).numpy()


def _trace_means(nn, layers, inputs, weights, stop, remote):  # noqa: ANN001, ANN202 - nnsight ships this source to the server as it stands
    with torch.no_grad(), nn.trace(inputs, logits_to_keep=1, use_cache=False, remote=remote) as tracer:
        reduced = []  # made inside: a list from outside would come back empty from a server
        for layer in layers:
            hidden = layer.output[0] if isinstance(layer.output, tuple) else layer.output
            assert hidden.ndim == 3
            hidden = hidden.float()
            w = weights.to(hidden.device)
            reduced.append(torch.cat([torch.einsum("bpt,btd->bpd", w, hidden), torch.einsum("bpt,bt->bp", w, hidden.norm(dim=-1))[..., None]], -1))
        result = torch.stack(reduced, 2).detach().cpu().save()
        if stop:
            tracer.stop()
    return result


def _finite(model: Model, values: np.ndarray, blocks: tuple[int, ...]) -> None:
    bad = ~np.isfinite(values).all(axis=(0, 1, 3))
    if bad.any():
        raise CourseError(f"block {blocks[int(np.argmax(bad))]} of {model.name} gave infinite or undefined numbers in {model.dtype}: "
                          "load it with dtype=torch.bfloat16 or torch.float32")


def _key(model: Model, prompts: Sequence[Prompt], spans: Sequence[str], blocks: tuple[int, ...]) -> str:
    content = [_VERSION, model.name, model.revision, model.dtype, list(spans), list(blocks), [(p.ids, [p.span(s) for s in spans]) for p in prompts]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]
