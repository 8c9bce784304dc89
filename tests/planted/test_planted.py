"""Truth we put in ourselves comes out; noise does not become a finding."""

import numpy as np
import pandas as pd
import pytest

from helpers.activations import Activations
from helpers.corpus import read_ratings
from helpers.geometry import circumplex, circumplex_of, clusters, cross_validated
from helpers.recognition import heldout_top, learning_curve, recognise
from helpers.stats import band, correlation, holm, mean_interval, paired_p, permutation_p, random_directions, wilson
from helpers.vectors import EmotionVectors, neutral_components

D, TOPICS = 64, 6


def _activations(values: np.ndarray) -> Activations:
    values = values.astype(np.float32)[:, None]
    return Activations(values, np.linalg.norm(values, axis=-1), (0,), "planted", "0", "float32", "body")


def _planted(signal: float, confound: float = 0.0, seed: int = 0):
    """Stories of 171 emotions on six topics in 64 dimensions: human valence and arousal along two axes, a topic offset, a nuisance axis, noise."""
    rng = np.random.default_rng(seed)
    ratings = read_ratings()
    axes = np.linalg.qr(rng.standard_normal((D, 4)))[0].T
    # Every word gets a valence and an arousal; for unrated ones they are drawn, since the recovery must not depend on who was rated.
    valence = ratings.rm1977_pleasure.to_numpy(copy=True)
    arousal = ratings.rm1977_arousal.to_numpy(copy=True)
    unrated = ~np.isfinite(valence)
    valence[unrated], arousal[unrated] = rng.uniform(-0.8, 0.8, unrated.sum()), rng.uniform(-0.5, 0.5, unrated.sum())
    nuisance = rng.standard_normal(len(ratings))
    stories = pd.DataFrame([(e, f"t{t}", ("first", "third")[(i + t) % 2]) for i, e in enumerate(ratings.index) for t in range(TOPICS)], columns=["emotion", "topic", "person"])
    row = np.repeat(np.arange(len(ratings)), TOPICS)
    topic_offset = rng.standard_normal((TOPICS, D)) * 5
    values = (signal * 3 * valence[row, None] * axes[0] + signal * 2 * arousal[row, None] * axes[1] + confound * nuisance[row, None] * axes[2]
              + topic_offset[np.tile(np.arange(TOPICS), len(ratings))] + 0.3 * rng.standard_normal((len(row), D)) + 7.0)
    neutral = 7.0 + confound * 2 * rng.standard_normal((80, 1)) * axes[2] + 0.1 * rng.standard_normal((80, D))
    return stories, _activations(values), _activations(neutral), axes


def test_valence_and_arousal_are_recovered():
    stories, acts, _, _ = _planted(signal=1.0)
    circle = circumplex_of(EmotionVectors.from_means(acts, stories.emotion))
    assert circle.valence.value > 0.95 and circle.arousal.value > 0.95
    assert circle.valence.beyond_null and circle.arousal.beyond_null
    assert circle.arousal_fit.value > 0.9


def test_a_confound_hides_arousal_until_neutral_text_takes_it_out():
    stories, acts, neutral, axes = _planted(signal=1.0, confound=6.0)
    raw = EmotionVectors.from_means(acts, stories.emotion)
    assert circumplex_of(raw).valence.value < 0.5  # PC1 is the nuisance
    clean = raw.denoise(neutral, share=0.5)
    assert circumplex_of(clean).valence.value > 0.95 and circumplex_of(clean).arousal.value > 0.95
    assert np.abs(clean.at(0) @ axes[2]).max() < 0.05 * np.abs(raw.at(0) @ axes[2]).max()
    assert clean.neutral_pcs == (1,)


def test_topics_cancel_in_a_crossed_corpus():
    stories, acts, _, _ = _planted(signal=1.0)
    shifted = _activations(acts.values[:, 0] + 100 * (stories.topic == "t3").to_numpy()[:, None])
    first, second = (EmotionVectors.from_means(a, stories.emotion).at(0) for a in (acts, shifted))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_pure_noise_is_not_a_circumplex():
    """Over twenty corpora of noise, PC1 goes beyond the random-direction band no more often than a 5% band should allow (binomial, p > 0.001)."""
    beyond = 0
    for seed in range(20):
        stories, acts, _, _ = _planted(signal=0.0, seed=seed)
        circle = circumplex_of(EmotionVectors.from_means(acts, stories.emotion))
        beyond += circle.valence.beyond_null
        assert circle.valence.value < 0.6 and circle.arousal_fit.value < 0.6
    assert beyond <= 6


def test_heldout_finds_planted_emotions_and_not_noise():
    stories, acts, _, _ = _planted(signal=2.0)
    found = heldout_top(acts.at(0) - _topic_means(acts, stories), stories.emotion, stories.topic)
    assert found.low > 3 * found.null[1]
    noise = heldout_top(np.random.default_rng(0).standard_normal((len(stories), D)), stories.emotion, stories.topic)
    assert noise.low < noise.null[1] and noise.value < 0.1


def _topic_means(acts, stories):
    return np.stack([acts.at(0)[(stories.topic == t).to_numpy()].mean(0) for t in stories.topic])


def test_learning_curve_rises_with_topics():
    stories, acts, _, _ = _planted(signal=0.25)
    curve = learning_curve(acts.at(0), stories, draws=4)
    assert list(curve.topics) == [2, 4, 6]
    assert curve.pc1_valence.iloc[-1] > curve.pc1_valence.iloc[0]
    with pytest.raises(ValueError, match="first person as in the third"):
        learning_curve(acts.at(0)[::2], stories.iloc[::2])


def test_clusters_find_planted_groups():
    ratings = read_ratings()
    centres = {name: axis for name, axis in zip(sorted(set(ratings.paper_cluster)), random_directions(10, D, seed=3))}
    rng = np.random.default_rng(0)
    rows = np.repeat(np.stack([centres[c] * 5 for c in ratings.paper_cluster]), 2, axis=0) + 0.3 * rng.standard_normal((342, D))
    vectors = EmotionVectors.from_means(_activations(rows), np.repeat(ratings.index, 2))
    _, rand = clusters(vectors, draws=50)
    assert rand.value > 0.9 and rand.beyond_null


def test_recognise_ranks_planted_prompts_after_centring():
    rng = np.random.default_rng(0)
    candidates = [f"e{i}" for i in range(12)]
    scores = np.eye(12) + 0.1 * rng.standard_normal((12, 12)) + np.linspace(0, 50, 12)  # a large offset per candidate hides the diagonal
    found = recognise(scores, candidates, candidates)
    assert found.hits == 12 and (found.table["rank"] == 1).all()
    assert recognise(rng.standard_normal((12, 12)), candidates, candidates).hits < 10


def test_unbalanced_or_mislabelled_stories_are_refused():
    stories, acts, _, _ = _planted(signal=1.0)
    with pytest.raises(ValueError, match="unbalanced stories.*'afraid' has 5"):
        EmotionVectors.from_means(acts.take(range(1, len(stories))), stories.emotion.iloc[1:])
    with pytest.raises(ValueError, match="labels for"):
        EmotionVectors.from_means(acts, stories.emotion.iloc[1:])


def test_long_vectors_do_not_pass_for_meaning():
    """PITFALLS 12: stretching one emotion's vector changes no reading, cosine or rank."""
    stories, acts, _, _ = _planted(signal=1.0)
    vectors = EmotionVectors.from_means(acts, stories.emotion)
    stretched = vectors.raw.copy()
    stretched[5] *= 40
    from dataclasses import replace

    np.testing.assert_allclose(replace(vectors, raw=stretched).cosine(0), vectors.cosine(0), atol=1e-5)
    np.testing.assert_allclose(replace(vectors, raw=stretched).read(acts.at(0)[:3]), vectors.read(acts.at(0)[:3]), atol=1e-5)


# Statistics against known answers -------------------------------------------------------------------------------------------------


def test_correlation_interval_covers_the_truth_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for trial in range(200):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 45).T
        estimate = correlation(x, y, seed=trial, resamples=500)
        covered += estimate.low <= 0.6 <= estimate.high
    assert 178 <= covered <= 199


def test_correlation_leaves_out_the_unrated():
    assert correlation([1, 2, 3, 4, np.nan], [2, 4, 6, 8, 100]).n == 4
    with pytest.raises(ValueError, match="at least 4 pairs"):
        correlation([1, 2, np.nan], [1, 2, 3])


def test_wilson_known_values():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611
    assert wilson(81, 263).low == pytest.approx(0.2553, abs=1e-4) and wilson(81, 263).high == pytest.approx(0.3662, abs=1e-4)
    assert wilson(0, 20).low == pytest.approx(0, abs=1e-9) and wilson(0, 20).high == pytest.approx(0.1611, abs=1e-4)
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        wilson(3, 2)


def test_holm_known_values():
    # Holm 1979 by hand: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, made monotone
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.02]), [0.04, 0.06, 0.06, 0.06])


def test_paired_p_known_values():
    # Exact McNemar by hand: 6 against 1 discordant gives 2 x (1 + 7) / 2^7 = 0.125; agreement everywhere gives 1
    first = np.array([1] * 15 + [1] * 6 + [0] + [0] * 2, bool)
    second = np.array([1] * 15 + [0] * 6 + [1] + [0] * 2, bool)
    assert paired_p(first, second) == pytest.approx(0.125) and paired_p(second, first) == pytest.approx(0.125)
    assert paired_p(first, first) == pytest.approx(1)
    with pytest.raises(ValueError, match="24 and 23 answers"):
        paired_p(first, second[1:])


def test_permutation_p_is_small_for_an_effect_and_even_for_none():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 30), rng.normal(0, 1, 30)
    both = np.concatenate([a, b])

    def redo(r):
        s = r.permutation(both)
        return s[:30].mean() - s[30:].mean()

    assert permutation_p(a.mean() - b.mean(), redo, draws=500) < 0.01
    assert permutation_p(0.0, redo, draws=500) > 0.2


def test_random_directions_inside_and_outside_a_span():
    basis = random_directions(5, D, seed=9)
    inside, outside = random_directions(50, D, inside=basis), random_directions(50, D, outside=basis)
    q = np.linalg.qr(basis.T)[0]
    np.testing.assert_allclose(np.linalg.norm(inside @ q, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(outside @ q, 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(outside, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(random_directions(3, D, seed=4), random_directions(3, D, seed=4))


def test_random_points_reach_high_rho_on_short_panels():
    """PITFALLS 15: with six points a random direction's |rho| band is wide; the band is what a panel must beat."""
    from helpers.recognition import _rank_correlation

    rng = np.random.default_rng(0)
    short, long = (np.quantile(np.abs(_rank_correlation(rng.standard_normal((n, 2000)), range(n))), 0.95) for n in (6, 40))
    assert short > 0.8 and long < 0.4


def test_mean_interval_and_band():
    values = np.random.default_rng(0).normal(2, 1, 400)
    estimate = mean_interval(values)
    assert estimate.low < 2.0 < estimate.high and estimate.high - estimate.low == pytest.approx(2 * 1.96 / 20, rel=0.2)
    assert band(np.arange(1001)) == pytest.approx((25.0, 975.0))


def test_cross_validated_fit_does_not_reward_noise():
    rng = np.random.default_rng(0)
    found = [cross_validated(rng.standard_normal((45, 3)), rng.standard_normal(45), repeats=3, seed=s).value for s in range(10)]
    assert np.mean(found) < 0.1


def test_neutral_components_reach_the_share():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((100, D)) * np.linspace(5, 0.1, D)
    for share in (0.2, 0.5, 0.9):
        basis = neutral_components(values, share)
        centred = values - values.mean(0)
        kept = ((centred @ basis.T) ** 2).sum() / (centred**2).sum()
        less = ((centred @ basis[:-1].T) ** 2).sum() / (centred**2).sum()
        assert less < share <= kept


def test_unknown_ratings_are_refused_by_name():
    with pytest.raises(ValueError, match="unknown ratings 'rm1976': did you mean 'rm1977'"):
        circumplex(np.zeros((171, 5)), read_ratings().index, ratings="rm1976")


def test_readout_finds_a_rating_on_any_axis_and_not_in_noise():
    from helpers.geometry import readout

    ratings = read_ratings()
    rng = np.random.default_rng(0)
    valence = ratings.glasgow2019_valence.fillna(5).to_numpy() - 5
    axes = np.linalg.qr(rng.standard_normal((D, 5)))[0].T
    points = rng.standard_normal((171, 4)) * 9 @ axes[:4] + valence[:, None] * axes[4] + 0.1 * rng.standard_normal((171, D))
    found = readout(points, ratings.index, "glasgow2019_valence")
    assert circumplex(points, ratings.index, ratings="glasgow2019").valence.value < 0.5  # not a main axis
    assert found.value > 0.9 and found.beyond_null
    noise = readout(rng.standard_normal((171, D)), ratings.index, "glasgow2019_valence")
    assert noise.value < 0.4 and not noise.low > noise.null[1]
    with pytest.raises(ValueError, match="did you mean 'glasgow2019_valence'"):
        readout(points, ratings.index, "glasgow2019_valense")
