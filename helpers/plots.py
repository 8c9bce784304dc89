"""Figures. Each states its verdict in the title, with n, interval and what chance gives; drawn once, closed, and returned for display or saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.figure import Figure

from helpers.artifacts import write_bytes
from helpers.corpus import TWELVE, read_ratings
from helpers.dose import DoseResponse
from helpers.geometry import Circumplex
from helpers.lens import Reading
from helpers.recognition import Recognition
from helpers.stats import Estimate

INK, GREY, WARM, COOL = "#22223b", "#9a9aa8", "#c8553d", "#2a6f97"
CLUSTER_COLOURS = {
    "Exuberant Joy": "#e6a100", "Playful Amusement": "#f4c95d", "Peaceful Contentment": "#4f9d69", "Compassionate Gratitude": "#8ab17d", "Competitive Pride": "#7b5ea7",
    "Hostile Anger": "#c1121f", "Vigilant Suspicion": "#bc6c25", "Fear and Overwhelm": "#e07a5f", "Despair and Shame": "#2a6f97", "Depleted Disengagement": "#7d8597",
}
_STYLE = {"figure.dpi": 100, "savefig.dpi": 150, "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.titlecolor": INK, "axes.labelcolor": INK,
          "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "legend.frameon": False, "figure.constrained_layout.use": True}
plt.rcParams.update(_STYLE)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: object) -> tuple[Figure, np.ndarray]:
    fig, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **kwargs)
    plt.close(fig)  # returned figures show once, as the cell's value; open ones would show twice
    return fig, axes


def save(fig: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    import io

    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())


def emotion_bars(reading: Reading, mean: Float[np.ndarray, "emotion"], spread: Float[np.ndarray, "emotion"], *, k: int = 10, title: str = "") -> Figure:
    """The k emotions a text moves most above `mean`, in standard deviations of neutral texts."""
    z = (reading.mean - mean) / spread
    top = np.argsort(-z)[:k][::-1]
    fig, axes = _figure(6.4, 0.3 * k + 1.2)
    ax = axes[0, 0]
    ax.barh([reading.emotions[i] for i in top], z[top], color=[_emotion_colour(reading.emotions[i]) for i in top])
    ax.axvspan(-2, 2, color=GREY, alpha=0.2, lw=0)
    ax.set_xlim(left=min(0, z[top].min()))
    ax.set_xlabel("difference, in standard deviations over openings of neutral texts (grey: within two)")
    ax.set_title(title or f"This text moves {reading.emotions[top[-1]]!r} most ({z[top[-1]]:.1f} sd above neutral)")
    return fig


def token_heat(reading: Reading, emotions: Sequence[str], mean: Float[np.ndarray, "emotion"], spread: Float[np.ndarray, "emotion"], *, title: str = "") -> Figure:
    """Readings of a few emotions at every token, z-scored on neutral texts."""
    rows = [reading.emotions.index(e) for e in emotions]
    z = ((reading.values - mean) / spread)[:, rows].T
    fig, axes = _figure(min(14, 0.34 * len(reading.tokens) + 2), 0.36 * len(rows) + 1.6)
    sns.heatmap(z, ax=axes[0, 0], cmap="RdBu_r", center=0, vmin=-6, vmax=6, yticklabels=list(emotions), xticklabels=[t.replace("\n", "\\n") for t in reading.tokens], cbar_kws={"label": "sd over neutral"})
    axes[0, 0].tick_params(axis="x", rotation=70, labelsize=8)
    axes[0, 0].tick_params(axis="y", rotation=0)
    axes[0, 0].set_title(title or f"Block {reading.block}, token by token")
    return fig


def sink(norms: Float[np.ndarray, "token"], tokens: Sequence[str]) -> Figure:
    """Residual norm by token: the first is an attention sink."""
    fig, axes = _figure(9, 3)
    ax = axes[0, 0]
    ax.bar(range(len(norms)), norms, color=[WARM] + [COOL] * (len(norms) - 1))
    ax.set_yscale("log")
    ax.set_xticks(range(len(tokens)), [t.replace("\n", "\\n") for t in tokens], rotation=70, fontsize=8)
    ax.set_ylabel("residual norm (log)")
    ax.set_title(f"The first token is {norms[0] / np.median(norms[1:]):.0f} times as long as the others: an attention sink, left out of every mean")
    return fig


def lines(table: pd.DataFrame, x: str, series: Mapping[str, str], *, title: str, ylabel: str, mark: float | None = None, mark_label: str = "",
          references: Mapping[str, float] | None = None, spread: Mapping[str, str] | None = None) -> Figure:
    """Columns of a table against x. `mark` is a vertical line (the fixed block), `references` are horizontal ones (the paper), `spread` are columns of standard deviations."""
    fig, axes = _figure(8, 4)
    ax = axes[0, 0]
    for (column, label), colour in zip(series.items(), (WARM, COOL, "#7b5ea7", "#4f9d69")):
        ax.plot(table[x], table[column], "o-", ms=4, color=colour, label=label)
        if spread and column in spread:
            ax.fill_between(table[x], table[column] - table[spread[column]], table[column] + table[spread[column]], color=colour, alpha=0.15, lw=0)
    if mark is not None:
        ax.axvline(mark, color=INK, ls=":", lw=1.2)
        ax.annotate(mark_label, (mark, ax.get_ylim()[0]), xytext=(4, 4), textcoords="offset points", fontsize=9, color=INK)
    for label, value in (references or {}).items():
        ax.axhline(value, color=GREY, lw=1, ls="--")
        ax.annotate(label, (table[x].min(), value), xytext=(2, 3), textcoords="offset points", fontsize=8, color="#6b6b78")
    ax.set(xlabel=x, ylabel=ylabel)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9)
    ax.set_title(title)
    return fig


def circumplex(circle: Circumplex, *, title: str = "", source: str = "") -> Figure:
    """The first two components, words coloured by the paper's clusters; rated words and the twelve are named."""
    human = read_ratings().reindex(list(circle.emotions))
    fig, axes = _figure(9, 7)
    ax = axes[0, 0]
    x, y = circle.scores[:, 0], circle.scores[:, 1]
    for name, colour in CLUSTER_COLOURS.items():
        here = (human.paper_cluster == name).to_numpy()
        ax.scatter(x[here], y[here], s=26, color=colour, label=name, alpha=0.85, lw=0)
    named = [i for i, e in enumerate(circle.emotions) if e in TWELVE or np.isfinite(human.rm1977_pleasure.iloc[i])]
    _labels(ax, x, y, [circle.emotions[i] for i in named], named)
    ax.axhline(0, color=GREY, lw=0.6)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set(xlabel=f"PC1 ({circle.explained[0]:.0%} of variance), turned towards human valence", ylabel=f"PC2 ({circle.explained[1]:.0%}), turned towards human arousal", xticks=[], yticks=[])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, fontsize=8, handletextpad=0.2)
    v, a = circle.valence, circle.arousal
    ax.set_title((title or "The circumplex") + (f" ({source})" if source else "") + f"\nPC1 and valence: r = {v.value:.2f} [{v.low:.2f}, {v.high:.2f}], random directions up to {v.null[1]:.2f}; n = {v.n} words\n"
                 f"PC2 and arousal: r = {a.value:.2f} [{a.low:.2f}, {a.high:.2f}], random directions up to {a.null[1]:.2f}", fontsize=10)
    return fig


def _labels(ax: plt.Axes, x: np.ndarray, y: np.ndarray, words: Sequence[str], rows: Sequence[int]) -> None:
    """Name points, leaving out a name that would cover one already placed."""
    placed: list[tuple[float, float]] = []
    width, height = np.ptp(x), np.ptp(y)
    order = sorted(zip(words, rows), key=lambda pair: pair[0] not in TWELVE)
    for word, i in order:
        if all(abs(x[i] - px) > 0.075 * width or abs(y[i] - py) > 0.028 * height for px, py in placed):
            placed.append((x[i], y[i]))
            ax.annotate(word, (x[i], y[i]), xytext=(3, 3), textcoords="offset points", fontsize=8.5, color=INK, weight="bold" if word in TWELVE else "normal")


def scatter_words(points: Float[np.ndarray, "emotion 2"], emotions: Sequence[str], *, title: str) -> Figure:
    """A flat layout (UMAP) coloured by the paper's clusters. A picture: no number is read from it."""
    cluster = read_ratings().paper_cluster.reindex(list(emotions)).to_numpy()
    fig, axes = _figure(8.5, 6.5)
    ax = axes[0, 0]
    for name, colour in CLUSTER_COLOURS.items():
        ax.scatter(*points[cluster == name].T, s=24, color=colour, label=name, lw=0)
    _labels(ax, points[:, 0], points[:, 1], list(emotions), range(len(emotions)))
    ax.set(xticks=[], yticks=[])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.03), ncols=4, fontsize=8, handletextpad=0.2)
    ax.set_title(title)
    return fig


def matrix(values: Float[np.ndarray, "row column"], rows: Sequence[str], columns: Sequence[str], *, title: str, label: str, numbers: bool = False, limit: float | None = None,
           width: float = 7, height: float = 6, ticks: bool = True, lower: float | None = None) -> Figure:
    """A labelled heat map; diverging around zero unless `lower` is given."""
    limit = float(np.abs(values).max()) if limit is None else limit
    fig, axes = _figure(width, height)
    scale = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if lower is None else {"cmap": "viridis", "vmin": lower, "vmax": limit}
    sns.heatmap(values, ax=axes[0, 0], xticklabels=list(columns) if ticks else False, yticklabels=list(rows) if ticks else False,
                annot=numbers, fmt=".2f", annot_kws={"size": 8}, cbar_kws={"label": label}, **scale)
    axes[0, 0].tick_params(axis="x", rotation=60 if max(map(len, columns), default=0) > 3 else 0, labelsize=8)
    axes[0, 0].tick_params(axis="y", rotation=0, labelsize=8)
    axes[0, 0].set_title(title)
    return fig


def recognition(found: Recognition, words: Recognition | None = None) -> Figure:
    """Prompts by candidate emotions; the right one is boxed. `words` is the no-model baseline on the same prompts."""
    title = f"Right emotion: {found}" + (f"; word counts {words.hits}" if words else "")
    fig = matrix(found.scores / found.scores.std(), found.table.emotion, found.candidates, title=title.replace("; chance", "\n(chance") + ")", label="centred score (sd)", width=8, height=0.26 * len(found.table) + 2.6)
    ax = fig.axes[0]
    for row, emotion in enumerate(found.table.emotion):
        ax.add_patch(plt.Rectangle((found.candidates.index(emotion), row), 1, 1, fill=False, ec=INK, lw=1.6))
    ax.set_ylabel("what the situation is about (never named)")
    return fig


def intensity(table: pd.DataFrame) -> Figure:
    """Readings as the number in each prompt is turned up, one panel a template."""
    templates = list(dict.fromkeys(table.template))
    fig, axes = _figure(11, 7.5, 2, (len(templates) + 1) // 2)
    for ax, template in zip(axes.flat, templates):
        part = table[table.template == template]
        for row in part.itertuples():
            series = np.array(row.readings)
            ax.plot(row.values, series - series.mean(), "o-", ms=3, color=_emotion_colour(row.emotion), label=f"{row.emotion} should {'rise' if row.expected > 0 else 'fall'}: rho {row.rho:+.2f}")
        ax.set_xscale("log")
        ax.axhline(0, color=GREY, lw=0.6)
        ax.set_title(f"{template.replace('_', ' ')} ({part.unit.iloc[0]})\nrandom directions reach |rho| {part.null.iloc[0]:.2f}", fontsize=9)
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    right = ((table.rho * table.expected) > 0).sum()
    beyond = ((table.rho * table.expected) > table.null).sum()
    fig.suptitle(f"{right} of {len(table)} readings move the way a person would expect; {beyond} go beyond the 95% band of random directions", x=0.01, ha="left", fontsize=11, color=INK)
    fig.supylabel("reading, centred (fraction of mean norm)", fontsize=9)
    return fig


def dose(response: DoseResponse, at: float = 0.1) -> Figure:
    """Own word, other words and random directions by steering strength; the verdict is the one at strength `at`."""
    fig, axes = _figure(8, 4.4)
    ax = axes[0, 0]
    x = np.array(response.strengths)
    own = [response.own_mean(i) for i in range(len(x))]
    null = np.array([e.null for e in own])
    ax.fill_between(x, null[:, 0], null[:, 1], color=GREY, alpha=0.35, lw=0, label=f"{response.random.shape[1]} random directions, 95%")
    ends = np.array([response.change[-1, j, j] for j in range(len(response.words))])
    for j, y in enumerate(_apart(ends, 0.03 * (max(ends.max(), null.max()) - min(ends.min(), null.min())))):
        word = response.words[j]
        ax.plot(x, response.change[:, j, j], color=_emotion_colour(word), lw=0.9, alpha=0.7)
        ax.annotate(word, (x[-1], y), xytext=(4, 0), textcoords="offset points", fontsize=7.5, color=_emotion_colour(word), va="center")
    ax.errorbar(x, [e.value for e in own], yerr=[[e.value - e.low for e in own], [e.high - e.value for e in own]], color=INK, fmt="o-", lw=2, ms=4, label="own word, mean and interval")
    ax.plot(x, [response.other(i).mean() for i in range(len(x))], "s--", color=INK, ms=4, label="other words, mean")
    ax.axhline(0, color=GREY, lw=0.6)
    ax.set(xlabel="steering strength (fraction of the mean residual norm)", ylabel="change in log-probability (nats)")
    ax.legend(fontsize=8, loc="upper left")
    ax.set_title(f'"{response.frame}": ' + response.summary(response.strengths.index(at)).replace("; random", ";\nrandom"), fontsize=10)
    return fig


def layer_sweep(sweep: pd.DataFrame, fixed: int) -> Figure:
    """The circumplex at every block (geometry.layer_sweep), the paper's figures as references, the fixed block marked."""
    here = sweep[sweep.block == fixed].iloc[0]
    return lines(sweep, "block", _CIRCLE_SERIES, ylabel="r (n = 45)", mark=fixed, mark_label="fixed in advance", references={"paper, valence 0.81": 0.81, "paper, arousal 0.66": 0.66},
                 title=f"Every block; at the fixed one valence {here.pc1_valence:.2f}, arousal {here.pc2_arousal:.2f} on PC2, {here.pc3_arousal:.2f} on PC3, {here.arousal_fit:.2f} from three")


def learning_curve(curve: pd.DataFrame) -> Figure:
    """What more topics buy (recognition.learning_curve)."""
    series = {name: label for name, label in _CIRCLE_SERIES.items() if name in curve}
    return lines(curve, "topics", series, ylabel="r (n = 45)", spread={"pc1_valence": "pc1_sd", "pc2_arousal": "pc2_sd"},
                 title=f"With {curve.topics.iloc[-1]} topics: valence {curve.pc1_valence.iloc[-1]:.2f}, arousal {curve.pc2_arousal.iloc[-1]:.2f}; with {curve.topics.iloc[0]}: "
                       f"{curve.pc1_valence.iloc[0]:.2f} and {curve.pc2_arousal.iloc[0]:.2f}\n(mean and spread over ten random choices of topics)")


_CIRCLE_SERIES = {"pc1_valence": "PC1 and valence", "pc2_arousal": "PC2 and arousal", "pc3_arousal": "PC3 and arousal", "arousal_fit": "arousal from three components, cross-validated"}


def _apart(values: np.ndarray, gap: float) -> np.ndarray:
    """Label heights: the values, pushed up where two are closer than `gap`."""
    out, last = values.astype(float).copy(), -np.inf
    for i in np.argsort(values):
        out[i] = last = max(values[i], last + gap)
    return out


def forest(rows: Sequence[tuple[str, Estimate]], *, title: str, xlabel: str, references: Mapping[str, float] | None = None) -> Figure:
    """Estimates with intervals, one a line; each one's chance band in grey; references as dashed lines."""
    fig, axes = _figure(8, 0.42 * len(rows) + 1.5)
    ax = axes[0, 0]
    for y, (_, estimate) in enumerate(rows):
        if estimate.null:
            ax.barh(y, estimate.null[1] - estimate.null[0], left=estimate.null[0], height=0.7, color=GREY, alpha=0.3, lw=0)
        ax.errorbar(estimate.value, y, xerr=[[estimate.value - estimate.low], [estimate.high - estimate.value]], fmt="o", color=INK, capsize=3)
        ax.annotate(f"{estimate.value:.2f}", (estimate.value, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8, color=INK)
    for name, value in (references or {}).items():
        ax.axvline(value, color=WARM, ls="--", lw=1)
        ax.annotate(name, (value, len(rows) - 0.45), xytext=(3, 0), textcoords="offset points", fontsize=8, color=WARM)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set(xlabel=xlabel)
    ax.set_title(title)
    return fig


def _emotion_colour(emotion: str) -> str:
    ratings = read_ratings()
    return CLUSTER_COLOURS[ratings.paper_cluster[emotion]] if emotion in ratings.index else INK


def scorecard(rows: Sequence[object], *, title: str) -> Figure:
    """Each row that has an interval on the scale 0 to 1 (or in nats): yours, baseline, paper."""
    shown = [row for row in rows if row.id != "capture.tokens_per_second"]
    fig, axes = _figure(10, 0.5 * len(shown) + 1.6)
    ax = axes[0, 0]
    for y, row in enumerate(shown):
        ax.plot([row.low, row.high], [y, y], color=INK, lw=2)
        ax.plot(row.ours, y, "o", color=INK, ms=7, label="yours, 95% interval" if y == 0 else None)
        if row.baseline is not None:
            ax.plot(row.baseline, y, "|", color=GREY, ms=16, mew=3, label="baseline" if y == 0 else None)
        if _number(row.paper) is not None:
            ax.plot(_number(row.paper), y, "D", color=WARM, ms=6, label="paper" if y == 0 else None)
    ax.set_yticks(range(len(shown)), [row.title for row in shown], fontsize=9)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.grid(axis="x", color=GREY, alpha=0.25)
    ax.legend(loc="upper center", bbox_to_anchor=(0.3, -0.06), ncols=3)
    ax.set_title(title)
    return fig


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
