"""Emotion vectors: the mean activation of an emotion's stories minus the mean over emotions, with neutral variance projected out.

Method: Sofroniew et al. 2026. Two uses, two lengths: *unit* vectors for comparing and reading (else a vector's length passes for
meaning), and unit vectors times a strength in units of the mean residual norm for steering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from helpers.activations import Activations
from helpers.artifacts import CONVENTION, read_artifact, write_tensors
from helpers.corpus import check_emotion
from helpers.errors import CourseError
from helpers.models import Model, default_block


@dataclass(frozen=True)
class Direction:
    """A push on the residual stream at one block. `0.15 * calm - 0.05 * desperate` reads as the maths.

    Attributes:
        vector: [d], in units of the mean residual norm: a direction of length 0.1 moves the stream by a tenth of its usual length.
        block: whose output it is added to.
        norm: the mean residual norm there (sink left out), in the model's own units.
    """

    vector: Float[np.ndarray, "d"]
    block: int
    norm: float

    @property
    def shift(self) -> Float[np.ndarray, "d"]:
        """What is added to the block's output."""
        return (self.vector * self.norm).astype(np.float32)

    @property
    def strength(self) -> float:
        return float(np.linalg.norm(self.vector))

    def __mul__(self, factor: float) -> Direction:
        return replace(self, vector=self.vector * float(factor))

    __rmul__ = __mul__

    def __neg__(self) -> Direction:
        return self * -1.0

    def __add__(self, other: Direction) -> Direction:
        if self.block != other.block:
            raise CourseError(f"cannot add a direction of block {other.block} to one of block {self.block}")
        return replace(self, vector=self.vector + other.vector)

    def __sub__(self, other: Direction) -> Direction:
        return self + (-other)


@dataclass(frozen=True)
class EmotionVectors:
    """One vector per emotion and block.

    Attributes:
        emotions: names, in row order.
        blocks: block outputs, 0-based.
        raw: [emotion, block, d] difference of means, denoised if `neutral_pcs` is not zero.
        grand: [block, d] mean over emotions: what is subtracted from an activation before it is read.
        norms: [block] mean residual norm, the unit of steering strength.
        per_emotion: stories per emotion.
        neutral_pcs: how many neutral components were projected out, by block.
        default: the block used when none is named.
        provenance: model, revision, dtype, convention, corpus hash and so on.
    """

    emotions: tuple[str, ...]
    blocks: tuple[int, ...]
    raw: Float[np.ndarray, "emotion block d"]
    grand: Float[np.ndarray, "block d"]
    norms: Float[np.ndarray, "block"]
    per_emotion: int
    default: int
    neutral_pcs: tuple[int, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_means(cls, means: Activations, emotions: Sequence[str], *, default: int | None = None, **provenance: Any) -> EmotionVectors:
        """Difference of means over stories. `emotions` labels the rows of `means`; every emotion must have as many stories."""
        labels = np.asarray(emotions)
        if len(labels) != len(means):
            raise CourseError(f"{len(labels)} labels for {len(means)} activations: expected one each")
        names, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(names) < 2:
            raise CourseError(f"vectors need at least 2 emotions, found {len(names)}")
        if counts.min() != counts.max():
            few, many = names[counts.argmin()], names[counts.argmax()]
            raise CourseError(f"unbalanced stories: {few!r} has {counts.min()}, {many!r} has {counts.max()}; the mean over emotions would lean")
        sums = np.zeros((len(names), *means.values.shape[1:]), np.float64)
        np.add.at(sums, inverse, means.values)
        by_emotion = sums / counts[:, None, None]
        grand = by_emotion.mean(0)
        made = {"model": means.model, "revision": means.revision, "dtype": means.dtype, "convention": CONVENTION, **provenance}
        if default is None:
            default = default_block(max(means.blocks) + 1)
        return cls(tuple(names.tolist()), means.blocks, (by_emotion - grand).astype(np.float32), grand.astype(np.float32),
                   means.norms.mean(0), int(counts[0]), default, provenance=made)

    def denoise(self, neutral: Activations, share: float = 0.5) -> EmotionVectors:
        """Project out the top principal components of neutral texts, as many as explain `share` of their variance, at each block."""
        if not 0 < share < 1:
            raise CourseError(f"share = {share}: expected a number between 0 and 1")
        if self.neutral_pcs:
            raise CourseError("these vectors are denoised already")
        cleaned, counts = np.empty_like(self.raw), []
        for i, block in enumerate(self.blocks):
            basis = neutral_components(neutral.at(block), share)
            cleaned[:, i] = self.raw[:, i] - self.raw[:, i] @ basis.T @ basis
            counts.append(len(basis))
        return replace(self, raw=cleaned, neutral_pcs=tuple(counts), provenance={**self.provenance, "neutral_share": share, "neutral_texts": len(neutral)})

    def at(self, block: int | None = None) -> Float[np.ndarray, "emotion d"]:
        """Raw vectors of one block (default: the default block)."""
        return self.raw[:, self._column(block)]

    def unit(self, block: int | None = None) -> Float[np.ndarray, "emotion d"]:
        """Vectors of length one, for comparing and reading."""
        rows = self.at(block)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def cosine(self, block: int | None = None) -> Float[np.ndarray, "emotion emotion"]:
        unit = self.unit(block)
        return unit @ unit.T

    def read(self, activations: Float[np.ndarray, "... d"], block: int | None = None) -> Float[np.ndarray, "... emotion"]:
        """How far activations lie along each emotion from the mean over emotions, in units of the mean residual norm.

        The same unit as steering strength, so that a reading and a push can be compared.
        """
        column = self._column(block)
        return (activations - self.grand[column]) @ self.unit(block).T / self.norms[column]

    def index(self, emotion: str) -> int:
        return self.emotions.index(check_emotion(emotion, self.emotions))

    def indexes(self, emotions: Sequence[str]) -> list[int]:
        return [self.index(emotion) for emotion in emotions]

    def __getitem__(self, emotion: str) -> Direction:
        """The unit direction of an emotion at the default block, to be multiplied by a strength."""
        return self.direction(emotion)

    def direction(self, emotion: str, block: int | None = None) -> Direction:
        column = self._column(block)
        return Direction(self.unit(block)[self.index(emotion)], self.blocks[column], float(self.norms[column]))

    def directions(self, rows: Float[np.ndarray, "n d"], block: int | None = None) -> list[Direction]:
        """Any unit rows (say, random ones) as directions at a block."""
        column = self._column(block)
        return [Direction(row, self.blocks[column], float(self.norms[column])) for row in rows]

    def _column(self, block: int | None) -> int:
        block = self.default if block is None else block
        if block not in self.blocks:
            raise CourseError(f"no vectors at block {block}: these hold {_ranges(self.blocks)}")
        return self.blocks.index(block)

    def check_model(self, model: Model) -> None:
        """Refuse to use vectors of one model on another."""
        mine = self.provenance.get("model"), self.provenance.get("revision")
        if mine != (model.name, model.revision):
            raise CourseError(f"these vectors come from {mine[0]} ({mine[1]}), not from {model.name} ({model.revision})")

    def save(self, path: Path) -> None:
        """Write to safetensors, half precision, with provenance."""
        arrays = {"raw": self.raw.astype(np.float16), "grand": self.grand, "norms": self.norms, "blocks": np.array(self.blocks), "neutral_pcs": np.array(self.neutral_pcs, np.int64)}
        write_tensors(path, arrays, {**self.provenance, "emotions": list(self.emotions), "per_emotion": self.per_emotion, "default": self.default})

    @classmethod
    def load(cls, path: Path, expected: Mapping[str, Any] | None = None) -> EmotionVectors:
        """Read what `save` wrote; refuses another model's, another corpus's or another layer convention's by what `expected` names."""
        arrays, made = read_artifact(path, {"convention": CONVENTION, **(expected or {})})
        emotions, per_emotion, default = tuple(made.pop("emotions")), made.pop("per_emotion"), made.pop("default")
        return cls(emotions, tuple(arrays["blocks"].tolist()), arrays["raw"].astype(np.float32), arrays["grand"], arrays["norms"],
                   per_emotion, default, tuple(arrays["neutral_pcs"].tolist()), made)


def neutral_components(values: Float[np.ndarray, "text d"], share: float) -> Float[np.ndarray, "k d"]:
    """Leading principal axes of the rows, as many as explain at least `share` of the variance."""
    _, size, axes = np.linalg.svd(values - values.mean(0), full_matrices=False)
    explained = np.cumsum(size**2) / (size**2).sum()
    return axes[: int(np.searchsorted(explained, share) + 1)]


def _ranges(blocks: tuple[int, ...]) -> str:
    whole = blocks == tuple(range(blocks[0], blocks[-1] + 1)) and len(blocks) > 1
    return f"blocks {blocks[0]} to {blocks[-1]}" if whole else f"blocks {list(blocks)}"
