"""Do the vectors mean what we named them? Stories they have not seen, situations that never name the emotion, numbers that turn up the dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import spearmanr

from helpers.activations import capture
from helpers.chat import chat, plain
from helpers.corpus import TWELVE
from helpers.errors import CourseError
from helpers.geometry import circumplex
from helpers.models import Model
from helpers.stats import Estimate, band, mean_interval, random_directions, wilson
from helpers.vectors import EmotionVectors, neutral_components


@dataclass(frozen=True)
class Recognition:
    """Ranks of the right emotion, one a prompt (1 is best), among `candidates`, and the share ranked in the first `k`."""

    table: pd.DataFrame
    scores: Float[np.ndarray, "prompt candidate"]
    candidates: tuple[str, ...]
    k: int
    rate: Estimate

    @property
    def right(self) -> Bool[np.ndarray, "prompt"]:
        """Which prompts have their emotion among the first k."""
        return (self.table["rank"] <= self.k).to_numpy()

    @property
    def hits(self) -> int:
        return int(self.right.sum())

    def __str__(self) -> str:
        n, chance = len(self.table), self.k / len(self.candidates)
        band_text = f"; {self.rate.null_name} up to {self.rate.null[1]:.2f}" if self.rate.null else ""
        return f"{self.hits} of {n} among the first {self.k} of {len(self.candidates)} [{self.rate.low:.2f}, {self.rate.high:.2f}]; chance {chance * n:.0f}{band_text}"


def heldout_top(rows: Float[np.ndarray, "story d"], emotions: Sequence[str], topics: Sequence[str], *, k: int = 10) -> Estimate:
    """Share of stories whose emotion is among the k nearest vectors, built each time without the story's topic.

    `rows` are activations at one block (neutral components projected out or not), or TF-IDF rows for the baseline. The interval is a
    bootstrap over emotions, whose stories stand or fall together; chance is k over the number of emotions.
    """
    emotions, topics = np.asarray(emotions), np.asarray(topics)
    names, inverse = np.unique(emotions, return_inverse=True)
    if len(set(topics)) < 2:
        raise CourseError("held-out stories need at least two topics: one is left out, the rest make the vectors")
    hit = np.zeros(len(rows))
    for topic in np.unique(topics):
        out = topics == topic
        means = _means(rows[~out], inverse[~out], len(names))
        unit = (means - means.mean(0)) / np.linalg.norm(means - means.mean(0), axis=1, keepdims=True)
        order = np.argsort(-((rows[out] - means.mean(0)) @ unit.T), axis=1)[:, :k]
        hit[out] = (order == inverse[out][:, None]).any(1)
    by_emotion = np.bincount(inverse, hit) / np.bincount(inverse)
    chance = k / len(names)
    spread = 1.96 * np.sqrt(chance * (1 - chance) / len(rows))
    return replace(mean_interval(by_emotion), n=len(rows), null=(chance - spread, chance + spread), null_name="chance")


def _means(rows: np.ndarray, inverse: np.ndarray, n: int) -> np.ndarray:
    sums = np.zeros((n, rows.shape[1]))
    np.add.at(sums, inverse, rows)
    return sums / np.bincount(inverse, minlength=n)[:, None]


def project_out(rows: Float[np.ndarray, "n d"], neutral: Float[np.ndarray, "text d"], share: float = 0.5) -> Float[np.ndarray, "n d"]:
    """Rows without the leading components of neutral texts (as in EmotionVectors.denoise)."""
    basis = neutral_components(neutral, share)
    return rows - rows @ basis.T @ basis


def recognise(scores: Float[np.ndarray, "prompt candidate"], truth: Sequence[str], candidates: Sequence[str], *, k: int = 3,
              ids: Sequence[str] | None = None, null: tuple[float, float] | None = None) -> Recognition:
    """Rank the right candidate for each prompt, after centring each candidate's scores over the prompts.

    Centring is part of the method: it takes out what every such prompt shares (a user who asks for help), which is larger than what
    tells them apart.
    """
    centred = scores - scores.mean(0)
    right = np.array([list(candidates).index(t) for t in truth])
    own = centred[np.arange(len(truth)), right]
    rank = 1 + (centred > own[:, None]).sum(1)
    first = [candidates[i] for i in centred.argmax(1)]
    table = pd.DataFrame({"id": ids if ids is not None else range(len(truth)), "emotion": list(truth), "rank": rank, "first": first})
    rate = replace(wilson(int((rank <= k).sum()), len(rank)), null=null, null_name="random directions" if null else "")
    return Recognition(table, centred, tuple(candidates), k, rate)


def read_prompts(model: Model, prompts: Sequence[str], *, span: str = "user", block: int) -> Float[np.ndarray, "prompt d"]:
    """Mean activation over a span of each prompt, as a chat turn if the model has a chat format, else as bare text."""
    if model.has_chat:
        return capture(model, [chat(model, text) for text in prompts], (span,), blocks=[block])[span].at(block)
    return capture(model, [plain(model, text, skip=0) for text in prompts], ("words",), blocks=[block])["words"].at(block)


def implicit(vectors: EmotionVectors, rows: Float[np.ndarray, "prompt d"], table: pd.DataFrame, *, block: int | None = None, k: int = 3, draws: int = 500) -> Recognition:
    """Situations that never name the emotion: is the right one of the twelve among the first k? The band puts twelve random directions
    of the vectors' own span in the vectors' place."""
    candidates = TWELVE
    unit = vectors.unit(block)
    scores = rows @ unit[vectors.indexes(candidates)].T
    chance = [recognise(rows @ random_directions(len(candidates), rows.shape[1], seed=i, inside=unit).T, table.emotion, candidates, k=k).rate.value for i in range(draws)]
    return recognise(scores, table.emotion, candidates, k=k, ids=table.id, null=band(chance))


def intensity(vectors: EmotionVectors, model: Model, templates: pd.DataFrame, *, block: int | None = None, span: str = "user", draws: int = 500) -> pd.DataFrame:
    """One number in a prompt, turned up: does the reading follow it?

    One row a template and expected emotion: rho (Spearman of the reading with the value), the expected sign, the readings, and
    `null`, the 95th percentile of |rho| over random directions in the vectors' span: with ten values it is high, which is the point.
    """
    block = vectors.default if block is None else block
    random = random_directions(draws, vectors.raw.shape[2], inside=vectors.unit(block))
    rows = []
    for template in templates.itertuples():
        texts = [template.text.format(value=f"{value:g}") for value in template.values]
        found = read_prompts(model, texts, span=span, block=block)
        readings = vectors.read(found, block)
        null = np.quantile(np.abs(_rank_correlation(found @ random.T, template.values)), 0.95)
        for emotion, sign in [(e, 1) for e in template.up] + [(e, -1) for e in template.down]:
            series = readings[:, vectors.index(emotion)]
            rho = float(spearmanr(series, template.values).statistic)
            rows.append({"template": template.template, "unit": template.unit, "emotion": emotion, "expected": sign, "rho": rho, "null": float(null),
                         "values": template.values, "readings": tuple(series.tolist())})
    return pd.DataFrame(rows)


def _rank_correlation(series: np.ndarray, values: Sequence[float]) -> np.ndarray:
    ranks = series.argsort(0).argsort(0).astype(float)
    target = np.argsort(np.argsort(values)).astype(float)
    ranks, target = ranks - ranks.mean(0), target - target.mean()
    return ranks.T @ target / np.sqrt((ranks**2).sum(0) * (target**2).sum())


def learning_curve(rows: Float[np.ndarray, "story d"], stories: pd.DataFrame, *, draws: int = 10, seed: int = 0) -> pd.DataFrame:
    """The circumplex from 2, 4, 6 ... topics: mean and spread over random choices of topics.

    Half of the topics tell an emotion in the first person and half in the third, so that grammar cancels as topics do; with odd
    numbers it would not, and the first component becomes "I" against "she". Columns topics, pc1_valence, pc2_arousal, arousal_fit, pc1_sd, pc2_sd.
    """
    names, inverse = np.unique(stories.emotion, return_inverse=True)
    halves = stories[stories.emotion == names[0]].groupby("person").topic.unique()
    if len(halves) != 2 or len(halves.iloc[0]) != len(halves.iloc[1]):
        raise CourseError("a learning curve needs as many topics that tell an emotion in the first person as in the third")
    rng = np.random.default_rng(seed)
    out = []
    for half in range(1, len(halves.iloc[0]) + 1):
        found = []
        for _ in range(1 if half == len(halves.iloc[0]) else draws):
            chosen = stories.topic.isin([topic for group in halves for topic in rng.choice(group, half, replace=False)]).to_numpy()
            circle = circumplex(_means(rows[chosen], inverse[chosen], len(names)), names.tolist())
            found.append((circle.valence.value, circle.arousal.value, circle.arousal_fit.value))
        mean, sd = np.mean(found, 0), np.std(found, 0)
        out.append({"topics": 2 * half, "pc1_valence": mean[0], "pc2_arousal": mean[1], "arousal_fit": mean[2], "pc1_sd": sd[0], "pc2_sd": sd[1]})
    return pd.DataFrame(out)
