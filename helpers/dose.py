"""What a dose of an emotion vector does: to the odds of its own word, to the text, and to the text's coherence.

Doses are fractions of the mean residual norm. Every effect stands beside random directions of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from helpers.chat import Prompt, chat, continuation, plain
from helpers.corpus import TWELVE
from helpers.lens import first_tokens
from helpers.models import Model
from helpers.stats import Estimate, band, mean_interval, random_directions
from helpers.steering import answer_logprobs, generate, next_logprobs
from helpers.vectors import EmotionVectors

FRAMES = {
    "I feel": ("How do you feel?", "I feel"),
    "he feels": ("Describe the man by the window in one sentence.", "He feels"),
    "what just happened": ("What just happened?", "There was a"),
}
"""Name -> (user turn, first words of the reply). After the last, topic words are scored instead of emotion words."""

TOPIC_WORDS = ("letter", "bus", "shift", "game", "field", "kitchen", "dinner", "neighbor", "queue", "repair", "lesson", "gift")
"""One plain word per topic of the stories: if the vectors carried story content, steering would raise these."""


@dataclass(frozen=True)
class DoseResponse:
    """Change in log-probability (nats) under steering, against the unsteered model.

    Attributes:
        strengths: [dose].
        words: the emotions, each of which is both steered and scored.
        change: [dose, steered emotion, scored word].
        random: [dose, direction, scored word] for random directions of equal length.
    """

    frame: str
    strengths: tuple[float, ...]
    words: tuple[str, ...]
    change: Float[np.ndarray, "dose emotion word"]
    random: Float[np.ndarray, "dose direction word"]

    def own(self, dose: int) -> Float[np.ndarray, "emotion"]:
        """Change of each emotion's own word under its own vector."""
        return np.diagonal(self.change[dose])

    def other(self, dose: int) -> Float[np.ndarray, "emotion"]:
        """Mean change of the other words."""
        n = len(self.words)
        return (self.change[dose].sum(1) - self.own(dose)) / (n - 1)

    def own_mean(self, dose: int, draws: int = 2000, seed: int = 0) -> Estimate:
        """Mean own-word change; the band gives every word a random direction of its own, drawn again and again."""
        rng = np.random.default_rng(seed)
        picks = rng.integers(0, self.random.shape[1], (draws, len(self.words)))
        null = self.random[dose][picks, np.arange(len(self.words))].mean(1)
        return replace(mean_interval(self.own(dose)), null=band(null), null_name="random directions")

    def summary(self, dose: int) -> str:
        """Own words, other words and the random band at one dose, in a line."""
        mean, up = self.own_mean(dose), int((self.own(dose) > 0).sum())
        return (f"at {self.strengths[dose]:g}, own word up in {up} of {len(self.words)}; mean {mean.value:+.2f} nats [{mean.low:+.2f}, {mean.high:+.2f}]; "
                f"random directions {mean.null[0]:+.2f} to {mean.null[1]:+.2f}; other words {self.other(dose).mean():+.2f}")


def frame_prompt(model: Model, frame: str) -> Prompt:
    """The prompt of one frame, as chat where the model has a chat format, else as plain text."""
    user, prefill = FRAMES[frame]
    return chat(model, user, prefill=prefill) if model.has_chat else plain(model, f"{user}\n{prefill}", skip=0)


def dose_response(model: Model, vectors: EmotionVectors, *, frame: str = "I feel", strengths: Sequence[float] = (0.1,), emotions: Sequence[str] = TWELVE,
                  words: Sequence[str] | None = None, n_random: int = 100, seed: int = 0, block: int | None = None) -> DoseResponse:
    """Steer with each emotion, and with random directions, at every strength; score the first token of each word after the frame."""
    words = tuple(emotions if words is None else words)
    directions = [vectors.direction(emotion, block) for emotion in emotions]
    random = vectors.directions(random_directions(n_random, vectors.raw.shape[2], seed=seed), block)
    rows = [None] + [s * d for s in strengths for d in [*directions, *random]]
    logprobs = next_logprobs(model, frame_prompt(model, frame), rows, first_tokens(model, words))
    change = (logprobs[1:] - logprobs[0]).reshape(len(strengths), len(directions) + n_random, len(words))
    return DoseResponse(frame, tuple(strengths), words, change[:, : len(directions)], change[:, len(directions):])


def steered_texts(model: Model, vectors: EmotionVectors, user: str, *, emotions: Sequence[str], strengths: Sequence[float], max_new_tokens: int = 40,
                  block: int | None = None) -> pd.DataFrame:
    """One greedy reply per emotion and strength, with its coherence: perplexity under the unsteered model, and repetition.

    Columns emotion, strength, text, perplexity, repetition (share of four-word runs that were said before).
    """
    prompt = chat(model, user) if model.has_chat else plain(model, user, skip=0)
    cells = [(emotion, strength) for emotion in emotions for strength in strengths]
    steer = [strength * vectors.direction(emotion, block) for emotion, strength in cells]
    replies = generate(model, [prompt] * len(cells), steer, max_new_tokens=max_new_tokens)
    said = [continuation(model, prompt, reply.text) if reply.text.strip() else None for reply in replies]
    scores = iter(answer_logprobs(model, [s for s in said if s]) if any(said) else [])
    perplexity = [float(np.exp(-next(scores))) if s else float("nan") for s in said]
    return pd.DataFrame([{"emotion": e, "strength": s, "text": r.text, "perplexity": p, "repetition": repetition(r.text)}
                         for (e, s), r, p in zip(cells, replies, perplexity)])


def repetition(text: str) -> float:
    """Share of a text's four-word runs that occurred before in it; 0 for a text too short to repeat."""
    words = text.lower().split()
    runs = [tuple(words[i:i + 4]) for i in range(len(words) - 3)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
