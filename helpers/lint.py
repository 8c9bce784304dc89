"""Lint for emotion stories: what would let a vector cheat, or a mean be wrong, counted by reason.

Run it on your own file:  python -m helpers.lint my_stories.csv
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import snowballstemmer
from sklearn.feature_extraction.text import CountVectorizer

from helpers.corpus import STORY_COLUMNS, read_appraisals, read_table
from helpers.errors import CourseError

REASONS = {
    "leak": "the emotion word itself",
    "inflection": "another form of the emotion word",
    "synonym": "a direct synonym from the list in data/appraisals.csv",
    "refusal": "a refusal or a preamble instead of a story",
    "near-duplicate": "shares more than a tenth of its five-word runs with another story",
    "repeated opening": "first four words open more than two stories",
    "length": "not 90 to 140 words, or fewer than 60 tokens after the 50th",
    "person": "labelled first person without an I, or third person with one outside speech",
    "person balance": "an emotion not told about equally in first and third person",
    "missing cell": "an emotion without a story on a topic",
}
MIN_WORDS, MAX_WORDS, MIN_TOKENS = 90, 140, 110
_REFUSAL = re.compile(r"\b(as an ai|(i cannot|i can't|unable to) (write|create|generate|help|provide|assist|fulfil)|i'm sorry, but i|here is (a|the) (short )?(story|paragraph)|language model)\b", re.I)
_SPEECH = re.compile(r"\"[^\"]*\"|\u201c[^\u201d]*\u201d")
_FIRST = re.compile(r"\b(I|I'm|I'd|I've|I'll|my|me|My|Me|mine|myself)\b")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_stemmer = snowballstemmer.stemmer("english")


@dataclass(frozen=True)
class LintReport:
    """`problems` has one row a finding: emotion, topic, reason, detail. `counts` is by reason, zeros included."""

    problems: pd.DataFrame
    stories: int

    @property
    def counts(self) -> pd.Series:
        return self.problems.reason.value_counts().reindex(list(REASONS), fill_value=0)

    def __str__(self) -> str:
        lines = [f"{self.stories} stories, {len(self.problems)} findings"]
        lines += [f"  {n:4d}  {reason}: {REASONS[reason]}" for reason, n in self.counts.items()]
        return "\n".join(lines)


@cache
def _stem(word: str) -> str:
    return _stemmer.stemWord(word)


def leaks(text: str, emotion: str, banned: str) -> list[tuple[str, str]]:
    """(reason, word) for each way `text` names `emotion`. `banned` is a `;` list; a trailing `*` matches any ending."""
    low = text.lower().replace("\u2019", "'")
    name = re.sub("[- ]", "[- ]", emotion)
    found = [("leak", emotion)] if re.search(rf"\b{name}\b", low) else []
    words = set(_WORD.findall(low)) | set(re.findall(r"[a-z]+", low))
    if " " not in emotion and "-" not in emotion:
        found += [("inflection", w) for w in sorted(words) if w != emotion and _stem(w) == _stem(emotion)]
    for entry in filter(None, (e.strip().lower() for e in str(banned).split(";"))):
        pattern = rf"\b{re.escape(entry[:-1])}[a-z]*\b" if entry.endswith("*") else rf"\b{re.escape(entry)}\b"
        hit = re.search(pattern, low)
        if hit and hit.group() not in {emotion, *(w for _, w in found)}:
            same = entry.rstrip("*")[:4] == emotion[:4]
            found.append(("inflection" if same else "synonym", hit.group()))
    return found


def lint(stories: pd.DataFrame, banned: pd.Series | None = None, count_tokens: Callable[[str], int] | None = None,
         emotions: tuple[str, ...] | None = None, topics: tuple[str, ...] | None = None) -> LintReport:
    """Every finding about `stories` (columns emotion, topic, person, text).

    `banned` maps emotion to its `;` list (default: the shipped lists); `count_tokens` adds the token rule;
    `emotions` and `topics` name the cells that must be filled (default: those that occur).
    """
    banned = read_appraisals().banned if banned is None else banned
    rows: list[tuple[str, str, str, str]] = []
    openings = stories.text.map(lambda t: " ".join(re.findall(r"[a-z']+", str(t).lower())[:4]))
    often = openings.value_counts()
    for (emotion, topic, person, text), opening in zip(stories[list(STORY_COLUMNS)].itertuples(index=False), openings):
        text, here = str(text), (emotion, topic)
        rows += [(*here, reason, word) for reason, word in leaks(text, emotion, banned.get(emotion, ""))]
        if match := _REFUSAL.search(_SPEECH.sub(" ", text)):
            rows.append((*here, "refusal", match.group()))
        if often[opening] > 2:
            rows.append((*here, "repeated opening", opening))
        words = len(text.split())
        tokens = count_tokens(text) if count_tokens else MIN_TOKENS
        if not MIN_WORDS <= words <= MAX_WORDS or tokens < MIN_TOKENS:
            rows.append((*here, "length", f"{words} words" + (f", {tokens} tokens" if count_tokens else "")))
        if (person == "first") != bool(_FIRST.search(_SPEECH.sub(" ", text))):
            rows.append((*here, "person", f"labelled {person}"))
    rows += _near_duplicates(stories) + _balance(stories) + _missing(stories, emotions, topics)
    return LintReport(pd.DataFrame(rows, columns=["emotion", "topic", "reason", "detail"]), len(stories))


def _near_duplicates(stories: pd.DataFrame, share: float = 0.1) -> list[tuple[str, str, str, str]]:
    if len(stories) < 2:
        return []
    grams = CountVectorizer(ngram_range=(5, 5), binary=True, token_pattern=r"[A-Za-z']+").fit_transform(stories.text.astype(str)).astype(int)
    both = (grams @ grams.T).tocoo()
    size = grams.sum(1).A1 if hasattr(grams.sum(1), "A1") else grams.sum(1)
    cells = stories[["emotion", "topic"]].to_numpy()
    return [(*cells[i], "near-duplicate", f"{cells[j][0]} on {cells[j][1]}") for i, j, n in zip(both.row, both.col, both.data)
            if i < j and n > share * min(size[i], size[j])]


def _balance(stories: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    share = (stories.person == "first").groupby(stories.emotion).agg(["mean", "size"])
    uneven = share[(share["size"] > 1) & ((share["mean"] - 0.5).abs() > 0.2)]
    return [(emotion, "", "person balance", f"{row['mean']:.0%} first person") for emotion, row in uneven.iterrows()]


def _missing(stories: pd.DataFrame, emotions: tuple[str, ...] | None, topics: tuple[str, ...] | None) -> list[tuple[str, str, str, str]]:
    have = set(zip(stories.emotion, stories.topic))
    return [(e, t, "missing cell", "") for e in (emotions or sorted(set(stories.emotion))) for t in (topics or sorted(set(stories.topic))) if (e, t) not in have]


def main(argv: list[str]) -> int:
    if not argv:
        print("usage: python -m helpers.lint FILE.csv [FILE.csv ...]")
        return 2
    try:
        report = lint(pd.concat([read_table(Path(name), STORY_COLUMNS) for name in argv], ignore_index=True))
    except CourseError as error:
        print(error)
        return 2
    print(report)
    if len(report.problems):
        print(report.problems.to_string(index=False, max_colwidth=60))
    return int(len(report.problems) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
