"""The shape of a set of emotion vectors: principal components against human ratings, clusters, and sameness across layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.cluster.hierarchy import leaves_list, linkage
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import KFold, cross_val_predict

from helpers.corpus import read_ratings
from helpers.errors import CourseError, unknown
from helpers.stats import Estimate, band, correlation, random_directions
from helpers.vectors import EmotionVectors

NORMS = {
    "rm1977": ("rm1977_pleasure", "rm1977_arousal"),
    "glasgow2019": ("glasgow2019_valence", "glasgow2019_arousal"),
}
"""Rating sets: name -> (valence column, arousal column)."""


@dataclass(frozen=True)
class Circumplex:
    """Principal components of emotion vectors, signs turned so that PC1 rises with valence and PC2 with arousal.

    Attributes:
        emotions: row names.
        scores: [emotion, pc] coordinates on the first five components.
        explained: [pc] share of variance.
        ratings: which human norms.
        valence: r of PC1 with valence; arousal: r of PC2 with arousal; arousal_pc3: r of PC3 with arousal.
            Each with a bootstrap interval over words and, as chance band, the same r for random directions in the vectors' own span.
        arousal_fit: r between arousal and its cross-validated linear fit from the first three components.
        table: r of every component with every rating, one row a component.
    """

    emotions: tuple[str, ...]
    scores: Float[np.ndarray, "emotion pc"]
    explained: Float[np.ndarray, "pc"]
    ratings: str
    valence: Estimate
    arousal: Estimate
    arousal_pc3: Estimate
    arousal_fit: Estimate
    table: pd.DataFrame


def pca(points: Float[np.ndarray, "emotion d"], k: int = 5) -> tuple[Float[np.ndarray, "emotion k"], Float[np.ndarray, "k"]]:
    """Scores on the first k principal components, and the share of variance of each."""
    centred = points - points.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :k] * size[:k], (size**2 / (size**2).sum())[:k]


def circumplex(points: Float[np.ndarray, "emotion d"], emotions: Sequence[str], *, ratings: str = "rm1977", seed: int = 0) -> Circumplex:
    """PCA of emotion vectors set against human valence and arousal (Russell & Mehrabian 1977, or Glasgow 2019).

    The components are found without the ratings; only their signs are turned by them, so a correlation here is never negative on
    PC1 and PC2. The chance band of a |r| therefore starts at zero.
    """
    if ratings not in NORMS:
        raise unknown("ratings", ratings, NORMS)
    human = read_ratings().reindex(list(emotions))
    valence, arousal = (human[column].to_numpy(float) for column in NORMS[ratings])
    scores, explained = pca(points)
    scores = scores * np.array([_sign(scores[:, 0], valence), _sign(scores[:, 1], arousal), _sign(scores[:, 2], arousal), 1, 1])[: scores.shape[1]]
    bands = [_random_band(points, norm, seed) for norm in (valence, arousal)]
    turned = {name: replace(correlation(scores[:, pc], norm, seed=seed), null=(0.0, top), null_name="random directions, |r|")
              for name, pc, norm, top in (("valence", 0, valence, bands[0]), ("arousal", 1, arousal, bands[1]), ("arousal_pc3", 2, arousal, bands[1]))}
    return Circumplex(tuple(emotions), scores, explained, ratings, **turned, arousal_fit=cross_validated(scores[:, :3], arousal, seed=seed), table=correlation_table(scores, emotions))


def circumplex_of(vectors: EmotionVectors, block: int | None = None, *, ratings: str = "rm1977") -> Circumplex:
    """The circumplex of a model's vectors at one block (default: the fixed one)."""
    return circumplex(vectors.at(block), vectors.emotions, ratings=ratings)


def _sign(scores: np.ndarray, norm: np.ndarray) -> float:
    both = np.isfinite(norm)
    return -1.0 if np.corrcoef(scores[both], norm[both])[0, 1] < 0 else 1.0


def _random_band(points: np.ndarray, norm: np.ndarray, seed: int, draws: int = 1000) -> float:
    """95th percentile of |r| between a rating and the points' coordinates on a random direction of their own span."""
    both = np.isfinite(norm)
    centred = points - points.mean(0)
    directions = random_directions(draws, points.shape[1], seed=seed, inside=centred)
    along = (centred @ directions.T)[both]
    z = (along - along.mean(0)) / along.std(0)
    y = (norm[both] - norm[both].mean()) / norm[both].std()
    return float(np.quantile(np.abs(z.T @ y / both.sum()), 0.95))


def cross_validated(features: Float[np.ndarray, "emotion k"], norm: Float[np.ndarray, "emotion"], *, folds: int = 5, repeats: int = 20, seed: int = 0) -> Estimate:
    """r between a rating and its linear fit from `features`, each word predicted by a fit that did not see it (mean over shuffles)."""
    both = np.isfinite(norm)
    x, y = features[both], norm[both]
    guesses = np.mean([cross_val_predict(LinearRegression(), x, y, cv=KFold(folds, shuffle=True, random_state=seed + i)) for i in range(repeats)], axis=0)
    return correlation(guesses, y, seed=seed)


def readout(points: Float[np.ndarray, "emotion d"], emotions: Sequence[str], norm: str, *, folds: int = 10, seed: int = 0) -> Estimate:
    """r between a human rating and its ridge fit from the whole vectors, each word predicted by a fit that did not see it.

    It asks whether the rating can be read off the vectors at all, on whatever axis; the principal components ask whether it is a
    *main* axis. The band is the same fit on shuffled ratings.
    """
    human = read_ratings().reindex(list(emotions))
    if norm not in human:
        raise unknown("rating column", norm, human.columns)
    y = human[norm].to_numpy(float)
    both = np.isfinite(y)
    x, y = points[both] - points[both].mean(0), y[both]
    x = x / np.linalg.norm(x, axis=1).mean()
    cv, rng = KFold(folds, shuffle=True, random_state=seed), np.random.default_rng(seed)

    def guess(target: np.ndarray) -> np.ndarray:
        return cross_val_predict(RidgeCV(np.logspace(-3, 3, 7)), x, target, cv=cv)

    shuffled = [correlation(guess(mixed), mixed, resamples=1).value for mixed in (rng.permutation(y) for _ in range(40))]
    return replace(correlation(guess(y), y, seed=seed), null=band(shuffled), null_name="shuffled ratings")


def correlation_table(scores: Float[np.ndarray, "emotion pc"], emotions: Sequence[str]) -> pd.DataFrame:
    """r of every component with every rating in data/emotions.csv, one row a component: what "PC2 looks like valence" needs."""
    human = read_ratings().reindex(list(emotions)).select_dtypes("number")
    return pd.DataFrame({column: [correlation(scores[:, pc], human[column], resamples=1).value for pc in range(scores.shape[1])] for column in human},
                        index=[f"PC{pc + 1}" for pc in range(scores.shape[1])])


def human_ceiling() -> pd.DataFrame:
    """How well the two sets of human norms agree with each other: r, interval and n for valence and arousal."""
    human = read_ratings()
    rows = {name: correlation(human[NORMS["rm1977"][i]], human[NORMS["glasgow2019"][i]]) for i, name in enumerate(("valence", "arousal"))}
    return pd.DataFrame([{"norm": name, "r": e.value, "low": e.low, "high": e.high, "n": e.n} for name, e in rows.items()])


def layer_sweep(vectors: EmotionVectors, *, ratings: str = "rm1977") -> pd.DataFrame:
    """The circumplex at every block: one row a block, with r for PC1-valence, PC2- and PC3-arousal, and the three-component fit."""
    rows = []
    for block in vectors.blocks:
        circle = circumplex_of(vectors, block, ratings=ratings)
        rows.append({"block": block, "pc1_valence": circle.valence.value, "pc2_arousal": circle.arousal.value, "pc3_arousal": circle.arousal_pc3.value,
                     "arousal_fit": circle.arousal_fit.value, "pc1_share": circle.explained[0], "pc2_share": circle.explained[1]})
    return pd.DataFrame(rows)


def clusters(vectors: EmotionVectors, block: int | None = None, *, k: int = 10, seed: int = 0, draws: int = 500) -> tuple[pd.Series, Estimate]:
    """k-means on unit vectors, and its adjusted Rand index against the paper's clusters (interval: bootstrap over words; null: shuffled labels)."""
    if not 2 <= k < len(vectors.emotions):
        raise CourseError(f"k = {k}: expected 2 to {len(vectors.emotions) - 1}")
    found = KMeans(k, n_init=20, random_state=seed).fit_predict(vectors.unit(block))
    paper = read_ratings().paper_cluster.reindex(list(vectors.emotions)).to_numpy()
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(found), (draws, len(found)))
    low, high = np.quantile([adjusted_rand_score(paper[p], found[p]) for p in picks], [0.025, 0.975])
    shuffled = [adjusted_rand_score(rng.permutation(paper), found) for _ in range(draws)]
    return pd.Series(found, vectors.emotions), Estimate(float(adjusted_rand_score(paper, found)), float(low), float(high), len(found), band(shuffled), "shuffled labels")


def cosine_order(vectors: EmotionVectors, block: int | None = None) -> list[int]:
    """Row order that puts like emotions side by side (average linkage on cosine distance)."""
    return leaves_list(linkage(vectors.unit(block), "average", metric="cosine", optimal_ordering=True)).tolist()


def layer_similarity(vectors: EmotionVectors) -> Float[np.ndarray, "block block"]:
    """Representational similarity: r between the cosine matrices of two blocks, over all pairs of emotions."""
    upper = np.triu_indices(len(vectors.emotions), 1)
    return np.corrcoef(np.stack([vectors.cosine(block)[upper] for block in vectors.blocks]))


def umap_layout(vectors: EmotionVectors, block: int | None = None, *, seed: int = 0) -> Float[np.ndarray, "emotion 2"]:
    """A picture only: seeded UMAP differs between systems (umap#153), so no number is read from it."""
    import umap  # slow to import, and only a picture needs it

    return umap.UMAP(n_neighbors=12, min_dist=0.4, metric="cosine", random_state=seed, n_jobs=1).fit_transform(vectors.unit(block))
