"""Intervals, bands and tests. Thin names over scipy and statsmodels, with the seed and the question made explicit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats as sps
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from helpers.errors import CourseError


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval and n, and what chance gives: `null` is a 95% band under the null named in `null_name`."""

    value: float
    low: float
    high: float
    n: int
    null: tuple[float, float] | None = None
    null_name: str = ""

    @property
    def beyond_null(self) -> bool:
        """True if the value lies outside the chance band."""
        return self.null is not None and not self.null[0] <= self.value <= self.null[1]

    def __str__(self) -> str:
        band = f"; {self.null_name} {self.null[0]:.2f} to {self.null[1]:.2f}" if self.null else ""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}], n = {self.n}{band}"


def correlation(x: Sequence[float], y: Sequence[float], *, seed: int = 0, resamples: int = 2000) -> Estimate:
    """Pearson r with a 95% percentile bootstrap interval over pairs; pairs with a missing member are left out."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 4:
        raise CourseError(f"a correlation needs at least 4 pairs, found {len(x)}")
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(x), (resamples, len(x)))
    draws = _row_correlation(x[rows], y[rows])
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(float(_row_correlation(x[None], y[None])[0]), float(low), float(high), len(x))


def _row_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))


def mean_interval(values: Sequence[float], *, seed: int = 0, resamples: int = 5000) -> Estimate:
    """Mean with a 95% percentile bootstrap interval."""
    values = np.asarray(values, float)
    if len(values) < 2:
        raise CourseError(f"an interval needs at least 2 values, found {len(values)}")
    found = sps.bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)).confidence_interval
    return Estimate(float(values.mean()), float(found.low), float(found.high), len(values))


def wilson(hits: int, n: int) -> Estimate:
    """A rate with its 95% Wilson interval."""
    if n < 1 or not 0 <= hits <= n:
        raise CourseError(f"a rate needs 0 <= hits <= n and n >= 1, found {hits} of {n}")
    low, high = proportion_confint(hits, n, alpha=0.05, method="wilson")
    return Estimate(hits / n, float(low), float(high), n)


def paired_p(first: Bool[np.ndarray, "item"], second: Bool[np.ndarray, "item"]) -> float:
    """Exact McNemar p (two-sided): do two methods, tried on the same items, differ in how often they are right?"""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise CourseError(f"paired items: {len(first)} and {len(second)} answers, expected as many of each")
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    return float(mcnemar(table, exact=True).pvalue)


def band(values: Sequence[float], share: float = 0.95) -> tuple[float, float]:
    """Central band that holds `share` of the values, e.g. of random directions."""
    low, high = np.quantile(np.asarray(values, float), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def permutation_p(observed: float, redo: Callable[[np.random.Generator], float], *, draws: int = 1000, seed: int = 0) -> float:
    """One-sided p: how often `redo`, the whole selection on shuffled data, reaches `observed` (add-one rule, never 0)."""
    rng = np.random.default_rng(seed)
    reached = sum(redo(rng) >= observed for _ in range(draws))
    return (reached + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> Float[np.ndarray, "test"]:
    """Holm-adjusted p-values."""
    return multipletests(np.asarray(p_values, float), method="holm")[1]


def random_directions(n: int, d: int, *, seed: int = 0, inside: Float[np.ndarray, "k d"] | None = None,
                      outside: Float[np.ndarray, "k d"] | None = None) -> Float[np.ndarray, "n d"]:
    """`n` unit vectors drawn evenly from all directions, or only from within the span of `inside`, or only orthogonal to `outside`.

    The control for every effect: shuffled labels are no control, since shuffled vectors keep cosines up to 0.45 with real ones.
    """
    rng = np.random.default_rng(seed)
    if inside is not None:
        basis = _span(inside)
        draws = rng.standard_normal((n, len(basis))) @ basis
    else:
        draws = rng.standard_normal((n, d))
        if outside is not None:
            basis = _span(outside)
            if len(basis) >= d:
                raise CourseError(f"no direction is outside the span of {len(outside)} vectors: they fill all {d} dimensions")
            draws = draws - draws @ basis.T @ basis
    return (draws / np.linalg.norm(draws, axis=1, keepdims=True)).astype(np.float32)


def _span(vectors: np.ndarray) -> np.ndarray:
    _, size, axes = np.linalg.svd(np.asarray(vectors, float), full_matrices=False)
    return axes[size > size[0] * 1e-6]
