"""The no-model baseline: the same stories as bags of words, through the same difference of means.

Where word counts do as well as the model, a result says something about text, not about the model (PAPER: circumplex 0.76 / 0.75).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.feature_extraction.text import TfidfVectorizer


@dataclass(frozen=True)
class WordVectors:
    """TF-IDF difference of means: `raw` [emotion, word]; `read(texts)` gives cosines [text, emotion]."""

    emotions: tuple[str, ...]
    raw: Float[np.ndarray, "emotion word"]
    counts: Float[np.ndarray, "story word"]
    weigher: TfidfVectorizer

    def read(self, texts: Sequence[str]) -> Float[np.ndarray, "text emotion"]:
        rows = self.weigher.transform(texts).toarray()
        unit = self.raw / np.linalg.norm(self.raw, axis=1, keepdims=True)
        return rows @ unit.T


def word_vectors(stories: pd.DataFrame) -> WordVectors:
    """TF-IDF (words in at least two stories, sublinear counts) averaged per emotion, minus the mean over emotions."""
    weigher = TfidfVectorizer(min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b[a-zA-Z']{2,}\b")
    counts = weigher.fit_transform(stories.text).toarray().astype(np.float32)
    names, inverse = np.unique(stories.emotion, return_inverse=True)
    means = np.stack([counts[inverse == i].mean(0) for i in range(len(names))])
    return WordVectors(tuple(names.tolist()), means - means.mean(0), counts, weigher)
