"""Add a direction to one block's output while the model reads or writes, one direction per row of a batch.

Strength is in units of the mean residual norm without the sink (Sofroniew et al. 2026 steer at 0.05 to 0.5). The sink (token 0) and
padding are never touched. A steered step is counted; a result whose count is wrong is refused, since steering that silently
does nothing looks like a null result.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from helpers.activations import batches, pad
from helpers.chat import Prompt
from helpers.errors import CourseError, unknown
from helpers.models import Model, check_blocks
from helpers.remote import one_line_errors
from helpers.vectors import Direction

POSITIONS = ("all", "prompt", "generated")


@dataclass(frozen=True)
class Reply:
    """Generated text and its token ids; `steered_steps` counts the forward passes a direction was added in (0 without steering)."""

    text: str
    ids: tuple[int, ...]
    steered_steps: int


def generate(model: Model, prompts: Sequence[Prompt], steer: Sequence[Direction | None] | Direction | None = None, *, max_new_tokens: int = 60,
             temperature: float = 0.0, seed: int = 0, positions: str = "all") -> list[Reply]:
    """Continue each prompt, each row steered by its own direction (None for an unsteered row).

    Args:
        steer: one direction for all rows, or one per row; all at one block.
        temperature: 0 takes the likeliest token; above 0 samples, seeded.
        positions: `all` tokens, only those of the `prompt`, or only those `generated`.
    """
    if positions not in POSITIONS:
        raise unknown("steering positions", positions, POSITIONS)
    rows = _rows(steer, len(prompts))
    block, shifts = _shifts(model, rows)
    inputs = pad(model, prompts)
    settings = dict(max_new_tokens=max_new_tokens, do_sample=temperature > 0, pad_token_id=model.tokenizer.pad_token_id)
    if temperature > 0:
        settings |= dict(temperature=temperature, top_k=0, top_p=1.0)
        torch.manual_seed(seed)
    layer = model.blocks[block]
    with one_line_errors(model.name, model.remote), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was never reached")  # the open loop over steps ends with the text, by design
        ids, steps = _trace_generate(model.nn, layer, inputs, shifts, _steerable(inputs["attention_mask"]), positions, settings, model.remote)
    width, written = inputs["input_ids"].shape[1], ids.shape[1] - inputs["input_ids"].shape[1]
    expected = {"all": written, "prompt": min(1, written), "generated": max(0, written - 1)}[positions]
    if any(rows) and steps != expected:
        raise CourseError(f"steering reached {steps} of {expected} steps at block {block}: the reply is not what it claims to be")
    stop = model.tokenizer.eos_token_id
    replies = []
    for row in ids[:, width:].tolist():
        row = row[: row.index(stop)] if stop in row else row
        replies.append(Reply(model.tokenizer.decode(row, skip_special_tokens=True), tuple(row), steps if any(rows) else 0))
    return replies


def next_logprobs(model: Model, prompt: Prompt, steer: Sequence[Direction | None], token_ids: Sequence[int], *, max_rows: int = 32) -> Float[np.ndarray, "row token"]:
    """Log-probability of each of `token_ids` right after the prompt, one row per direction."""
    out = []
    for start in range(0, len(steer), max_rows):
        part = list(steer[start:start + max_rows])
        block, shifts = _shifts(model, part)
        inputs = pad(model, [prompt] * len(part))
        with one_line_errors(model.name, model.remote):
            logits = _trace_logits(model.nn, model.blocks[block], inputs, shifts, _steerable(inputs["attention_mask"]), 1, model.remote)
        out.append(torch.log_softmax(logits[:, -1].float(), -1)[:, list(token_ids)].numpy())
    return np.concatenate(out)


def answer_logprobs(model: Model, prompts: Sequence[Prompt], steer: Sequence[Direction | None] | Direction | None = None, *, span: str = "answer",
                    max_tokens: int = 1024) -> Float[np.ndarray, "prompt"]:
    """Mean log-probability per token of each prompt's `span`, each row steered by its own direction.

    On short texts under the unsteered model, exp(-value) is the perplexity: the coherence measure.
    """
    rows = _rows(steer, len(prompts))
    values = np.zeros(len(prompts), np.float32)
    for group in batches([len(p) for p in prompts], max_tokens):
        part = [prompts[i] for i in group]
        inputs = pad(model, part)
        block, shifts = _shifts(model, [rows[i] for i in group])
        keep = max(len(p) - p.span(span)[0] for p in part) + 1
        with one_line_errors(model.name, model.remote):
            logits = _trace_logits(model.nn, model.blocks[block], inputs, shifts, _steerable(inputs["attention_mask"]), keep, model.remote)
        logprobs = torch.log_softmax(logits.float(), -1)
        for i, prompt, row in zip(group, part, logprobs):
            where = torch.tensor(prompt.span(span))
            targets = torch.tensor(prompt.ids)[where]
            values[i] = row[where - len(prompt) + len(row) - 1, targets].mean()  # the logits before a token are what predicted it
    return values


def shifted_by(model: Model, prompt: Prompt, steer: Direction) -> Float[np.ndarray, "token d"]:
    """The measured change of the steered block's output at every token: what the tests hold against strength x norm."""
    inputs = pad(model, [prompt])
    mask = _steerable(inputs["attention_mask"])
    got = []
    for direction in (None, steer):
        _, shifts = _shifts(model, [direction])
        with one_line_errors(model.name, model.remote):
            got.append(_trace_block(model.nn, model.blocks[steer.block], inputs, shifts, mask, model.remote))
    return (got[1] - got[0])[0].numpy()


def _rows(steer: Sequence[Direction | None] | Direction | None, n: int) -> list[Direction | None]:
    rows = [steer] * n if steer is None or isinstance(steer, Direction) else list(steer)
    if len(rows) != n:
        raise CourseError(f"{len(rows)} directions for {n} prompts: expected one each, or one for all")
    return rows


def _shifts(model: Model, rows: Sequence[Direction | None]) -> tuple[int, torch.Tensor]:
    """The block, and what is added to each row, [row, d]; zeros for an unsteered row."""
    blocks = {row.block for row in rows if row is not None}
    if len(blocks) > 1:
        raise CourseError(f"one batch steers at one block, found blocks {sorted(blocks)}")
    block = next(iter(blocks), 0)
    check_blocks(model, [block])
    out = torch.zeros(len(rows), model.d)
    for i, row in enumerate(rows):
        if row is not None:
            if row.vector.shape != (model.d,):
                raise CourseError(f"a direction of width {row.vector.shape} does not fit {model.name}, whose residual stream has d = {model.d}")
            out[i] = torch.from_numpy(row.shift)
    return block, out.to(model.device)


def _steerable(mask: torch.Tensor) -> torch.Tensor:
    """1.0 at real tokens other than the sink, [row, token]."""
    return (mask.bool() & (mask.long().cumsum(-1) > 1)).float()


def _trace_generate(nn, layer, inputs, shifts, mask, positions, settings, remote):  # noqa: ANN001, ANN202 - nnsight ships this source as it stands
    with torch.no_grad(), nn.generate(remote=remote, **settings) as tracer:
        with tracer.invoke(inputs):
            steps = [].save()
            for step in tracer.iter[:]:
                first = len(steps) == 0
                output = layer.output
                hidden = output[0] if isinstance(output, tuple) else output
                if positions == "all" or (positions == "prompt") == first:
                    push = shifts.to(hidden.device, hidden.dtype)[:, None]
                    push = push * mask.to(hidden.device, hidden.dtype)[:, :, None] if first else push
                    layer.output = (hidden + push, *output[1:]) if isinstance(output, tuple) else hidden + push
                    steps.append(1)
                else:
                    steps.append(0)
        with tracer.invoke():  # a second invoke outlives an early end of the text
            ids = tracer.result.detach().cpu().save()
    return ids, sum(steps)


def _trace_logits(nn, layer, inputs, shifts, mask, keep, remote):  # noqa: ANN001, ANN202
    with torch.no_grad(), nn.trace(inputs, logits_to_keep=keep, use_cache=False, remote=remote):
        output = layer.output
        hidden = output[0] if isinstance(output, tuple) else output
        moved = hidden + shifts.to(hidden.device, hidden.dtype)[:, None] * mask.to(hidden.device, hidden.dtype)[:, :, None]
        layer.output = (moved, *output[1:]) if isinstance(output, tuple) else moved
        logits = nn.output.logits.detach().cpu().save()
    return logits


def _trace_block(nn, layer, inputs, shifts, mask, remote):  # noqa: ANN001, ANN202
    with torch.no_grad(), nn.trace(inputs, use_cache=False, remote=remote):
        output = layer.output
        hidden = output[0] if isinstance(output, tuple) else output
        moved = hidden + shifts.to(hidden.device, hidden.dtype)[:, None] * mask.to(hidden.device, hidden.dtype)[:, :, None]
        layer.output = (moved, *output[1:]) if isinstance(output, tuple) else moved
        after = layer.output
        result = (after[0] if isinstance(after, tuple) else after).float().detach().cpu().save()
    return result
