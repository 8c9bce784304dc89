"""Let any model write stories: the prompt, the sampling, and a parser that keeps only what is a story."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from helpers.chat import chat, plain
from helpers.corpus import STORY_COLUMNS, check_emotion, read_appraisals
from helpers.errors import CourseError
from helpers.models import Model
from helpers.steering import generate

_PREAMBLE = re.compile(r"^\s*(sure|certainly|of course|here(?:'s| is)\b)[^\n:]*[:!.]\s*", re.I)


def story_prompt(emotion: str, topic: str, person: str = "third") -> str:
    """The request for one story: the situation from the appraisal line, and never the word."""
    emotion = check_emotion(emotion)
    if person not in ("first", "third"):
        raise CourseError(f"person {person!r}: expected 'first' or 'third'")
    row = read_appraisals().loc[emotion]
    voice = "as I, from inside" if person == "first" else "about one person with a name, as he or she"
    return (f"Write one paragraph of a story, about 110 words, {voice}. Setting: {topic} What has happened: {row.happened} The person wants to: {row.urge}. "
            f"Their body: {row.body}. Show how it is for them in body, thought and deed. Do not use the word {emotion!r} or name any feeling. Only the paragraph.")


def write_stories(model: Model, emotions: Sequence[str], topic: str, *, person: str = "third", temperature: float = 0.8, seed: int = 0, max_new_tokens: int = 180) -> pd.DataFrame:
    """One sampled story per emotion, as a table the lint takes: emotion, topic, person, text."""
    requests = [story_prompt(emotion, topic, person) for emotion in emotions]
    prompts = [chat(model, text) if model.has_chat else plain(model, text + "\n\n", skip=0) for text in requests]
    replies = generate(model, prompts, None, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    rows = [(check_emotion(e), topic, person, parse_story(reply.text)) for e, reply in zip(emotions, replies)]
    return pd.DataFrame(rows, columns=list(STORY_COLUMNS))


def parse_story(text: str) -> str:
    """The first paragraph of a reply without preamble, quotation around it, or a sentence cut off at the end."""
    body = _PREAMBLE.sub("", text.strip()).strip()
    body = body.split("\n\n")[0].strip().strip('"')
    ends = [m.end() for m in re.finditer(r"[.!?][\"']?(?=\s|$)", body)]
    return body[: ends[-1]] if ends else body
