"""Two lenses: which emotions a text moves, token by token; and which tokens a vector speaks for, through the unembedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from helpers.activations import capture_tokens
from helpers.chat import Prompt, plain, token_texts
from helpers.errors import CourseError
from helpers.models import Model
from helpers.remote import one_line_errors
from helpers.vectors import EmotionVectors


@dataclass(frozen=True)
class Reading:
    """Emotion readings of one text.

    Attributes:
        tokens: [token] the text, piece by piece, without the first token (the attention sink).
        values: [token, emotion] position along each unit vector from the mean over emotions, in units of the mean residual norm.
        emotions: column names.
        block: where it was read.
    """

    tokens: tuple[str, ...]
    values: Float[np.ndarray, "token emotion"]
    emotions: tuple[str, ...]
    block: int

    @property
    def mean(self) -> Float[np.ndarray, "emotion"]:
        return self.values.mean(0)

    def top(self, k: int = 10, reference: Float[np.ndarray, "emotion"] | None = None) -> list[tuple[str, float]]:
        """The k emotions that the text moves most, above `reference` (say, the mean over neutral texts) if given."""
        score = self.mean - (0 if reference is None else reference)
        return [(self.emotions[i], float(score[i])) for i in np.argsort(-score)[:k]]


def read_emotions(model: Model, vectors: EmotionVectors, text: str | Prompt, *, block: int | None = None) -> Reading:
    """Read every emotion at every token of a text."""
    vectors.check_model(model)
    block = vectors.default if block is None else block
    prompt = text if isinstance(text, Prompt) else plain(model, text, skip=0)
    if len(prompt) < 2:
        raise CourseError("text too short to read: expected at least two tokens, since the first is the attention sink")
    values = vectors.read(capture_tokens(model, prompt, block=block)[1:], block)
    return Reading(tuple(token_texts(model, prompt.ids[1:])), values, vectors.emotions, block)


def logit_lens(model: Model, rows: Float[np.ndarray, "n d"], base: Float[np.ndarray, "d"]) -> Float[np.ndarray, "n vocabulary"]:
    """How much each row added to `base` raises each token: unembed(norm(base + row)) - unembed(norm(base)).

    The final norm is not linear, so it is applied to a real point of the stream (`base`, say the mean over emotions) with and without
    the row, never to a bare difference. Rows and base are in the model's own units.
    """
    points = torch.from_numpy(np.concatenate([base[None], base[None] + rows]).astype(np.float32))
    inputs = {"input_ids": torch.tensor([[model.tokenizer.pad_token_id]], device=model.device)}
    with one_line_errors(model.name, model.remote):
        logits = _trace_unembed(model.nn, model.norm, model.head, points[None], inputs, model.remote)[0]
    return (logits[1:] - logits[:1]).numpy()


def top_tokens(model: Model, raised: Float[np.ndarray, "vocabulary"], among: Sequence[int], k: int = 8) -> list[str]:
    """The k tokens of `among` raised most, as readable words: only tokens that start a word and are made of letters.

    Most of a vocabulary is rare fragments whose unembedding rows were hardly trained; they top every list and mean nothing. So rank
    the tokens of real texts (`seen_tokens`).
    """
    words: list[str] = []
    among = np.asarray(among)
    for token in among[np.argsort(-raised[among])]:
        text = model.tokenizer.decode([int(token)])
        if text.startswith(" ") and text.strip().isalpha() and text.strip().isascii() and len(text) > 3 and text.strip().lower() not in words:
            words.append(text.strip().lower())
            if len(words) == k:
                break
    return words


def seen_tokens(model: Model, texts: Sequence[str], least: int = 3) -> Int[np.ndarray, "token"]:
    """Ids of the tokens that occur at least so often in the texts."""
    counts = np.bincount([i for text in texts for i in model.tokenizer(text)["input_ids"]])
    return np.flatnonzero(counts >= least)


def first_tokens(model: Model, words: Sequence[str]) -> list[int]:
    """The first token of each word as it stands after a space."""
    return [model.tokenizer(" " + word, add_special_tokens=False)["input_ids"][0] for word in words]


def _trace_unembed(nn, norm, head, points, inputs, remote):  # noqa: ANN001, ANN202 - nnsight ships this source as it stands
    with torch.no_grad(), nn.trace(inputs, use_cache=False, remote=remote):
        end = norm.output  # wait until the pass has gone by the norm, so that calling it again disturbs nothing
        logits = head(norm(points.to(end.device, end.dtype))).float().detach().cpu().save()
    return logits
