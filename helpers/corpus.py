"""Read the course's texts and ratings, and refuse what cannot be used.

Tables are pandas DataFrames, one row a text. The story corpus is fully crossed (every emotion on every topic),
so that a topic adds the same to every emotion and cancels in the difference of means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from helpers.errors import CourseError, unknown
from helpers.paths import DATA

STORY_COLUMNS = ("emotion", "topic", "person", "text")
TWELVE = ("happy", "inspired", "loving", "proud", "calm", "desperate",
          "angry", "guilty", "sad", "afraid", "nervous", "surprised")
"""The twelve words of most figures in Sofroniew et al. (2026)."""


def read_table(path: Path | str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a UTF-8 CSV that must hold `columns`; text stays text, empty cells become NaN.

    Raises CourseError, in one line, for a missing, empty, wrongly encoded or incomplete file.
    """
    path = Path(path)
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise unknown("file", path.name, near) if near else CourseError(f"no file {path.name} in {path.parent.name}/")
    try:
        table = pd.read_csv(path, encoding="utf-8", keep_default_na=False, na_values=[""])
    except UnicodeDecodeError as error:
        raise CourseError(f"{path.name} is not UTF-8 (byte {error.start}): save it again as UTF-8") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise CourseError(f"{path.name} is not a readable CSV: {str(error).splitlines()[0]}") from None
    for column in columns:
        if column not in table.columns:
            raise CourseError(f"{path.name} has no column {column!r}; expected {', '.join(columns)}, found {', '.join(map(str, table.columns))}")
    if table.empty:
        raise CourseError(f"{path.name} has a header but no rows")
    return table


def read_stories(path: Path | str | None = None, topics: int | None = None) -> pd.DataFrame:
    """The shipped stories (or those of one CSV of yours): columns emotion, topic, person, text.

    `topics` keeps the first so many topics of `data/topics.csv`. The result is crossed and without duplicates, or refused.
    """
    if path is None:
        names = list(read_topics().topic)
        if topics is not None and not 1 <= topics <= len(names):
            raise CourseError(f"topics={topics}: expected 1 to {len(names)}")
        names = names[:topics]
        stories = pd.concat([read_table(DATA / "stories" / f"{name}.csv", STORY_COLUMNS) for name in names], ignore_index=True)
    else:
        stories = read_table(path, STORY_COLUMNS)
    check_crossed(stories)
    return stories.sort_values(["emotion", "topic"], kind="stable", ignore_index=True)


def check_crossed(stories: pd.DataFrame) -> None:
    """Refuse an empty or duplicated story, and a missing or double (emotion, topic) cell, by name."""
    empty = stories[stories.text.isna() | (stories.text.astype(str).str.strip() == "")]
    if len(empty):
        raise CourseError(f"empty story: {_cell(empty.iloc[0])} ({len(empty)} in all)")
    twice = stories[stories.text.duplicated()]
    if len(twice):
        raise CourseError(f"duplicated story: {_cell(twice.iloc[0])} has the text of another row ({len(twice)} in all)")
    cells = stories.groupby(["emotion", "topic"]).size().unstack(fill_value=0)
    holes = cells.stack()
    wrong = holes[holes != holes.max()] if holes.min() == 0 else holes[holes != holes.iloc[0]]
    if len(wrong):
        emotion, topic = wrong.index[0]
        raise CourseError(f"unbalanced corpus: emotion {emotion!r} on topic {topic!r} has {wrong.iloc[0]} stories where other cells have "
                          f"{int(holes.max())} ({len(wrong)} such cells); every emotion needs every topic")


def _cell(row: pd.Series) -> str:
    return f"emotion {row.emotion!r}, topic {row.topic!r}"


def emotion_names() -> tuple[str, ...]:
    """The 171 emotion words, alphabetical."""
    return tuple(read_ratings().index)


def check_emotion(name: str, options: Sequence[str] | None = None) -> str:
    """The emotion as it is spelled in the list; `At_Ease` finds `at ease`. Raises with the nearest right name."""
    options = emotion_names() if options is None else options
    plain = {_plain(option): option for option in options}
    if _plain(name) not in plain:
        raise unknown("emotion", name, options)
    return plain[_plain(name)]


def _plain(name: str) -> str:
    return str(name).strip().lower().replace("_", " ").replace("-", " ")


def read_ratings() -> pd.DataFrame:
    """Paper cluster and human ratings by emotion: rm1977_* in [-1, 1] (45 words), glasgow2019_* in [1, 9] (82 words); NaN where unrated."""
    return read_table(DATA / "emotions.csv", ("emotion", "paper_cluster", "rm1977_pleasure", "rm1977_arousal")).set_index("emotion")


def read_appraisals() -> pd.DataFrame:
    """What calls each emotion up, its urge and body, its nearest neighbours, and the words its stories may not use; by emotion."""
    return read_table(DATA / "appraisals.csv", ("emotion", "happened", "cause", "certainty", "control", "urge", "body", "apart", "banned")).set_index("emotion")


def read_topics(more: bool = False) -> pd.DataFrame:
    """The twelve topics of the stories (topic, premise), or with `more` the hundred for generating further ones (id, topic)."""
    return read_table(DATA / "topics_more.csv", ("id", "topic")) if more else read_table(DATA / "topics.csv", ("topic", "premise"))


def read_neutral() -> pd.DataFrame:
    """80 dialogues and 40 paragraphs that only inform: columns id, kind, text."""
    return read_table(DATA / "neutral.csv", ("id", "kind", "text"))


def read_implicit(which: str = "main") -> pd.DataFrame:
    """Situations told without naming the emotion: id, emotion, prompt. `which` is `main` (12) or `heldout` (24)."""
    table = read_table(DATA / "implicit.csv", ("id", "set", "emotion", "prompt"))
    if which not in set(table.set):
        raise unknown("set of implicit prompts", which, sorted(set(table.set)))
    return table[table.set == which].reset_index(drop=True)


def read_intensity() -> pd.DataFrame:
    """Six prompts with one number in them: template, unit, values (tuple of float), text with {value}, up and down (tuples of emotions)."""
    table = read_table(DATA / "intensity.csv", ("template", "unit", "values", "text", "up", "down"))
    words = lambda cell: tuple(w.strip() for w in str(cell).split(";") if w.strip() and str(cell) != "nan")  # noqa: E731
    return table.assign(values=table["values"].map(lambda cell: tuple(float(v) for v in words(cell))), up=table.up.map(words), down=table.down.map(words))


def corpus_hash(stories: pd.DataFrame) -> str:
    """Twelve hex digits that change with any story, label or row: part of every artefact's name, since the author decides the result."""
    rows = stories.sort_values(list(STORY_COLUMNS[:2]))[list(STORY_COLUMNS)]
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:12]
