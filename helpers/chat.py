"""From text to tokens with named places: which tokens are the story past its 50th, the user's words, the assistant's start.

Positions are indexes of real tokens, counted before any padding, so a left-padded batch cannot shift them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from helpers.errors import CourseError, unknown
from helpers.models import Model


@dataclass(frozen=True)
class Prompt:
    """Token ids of one text, and spans: name -> indexes of the tokens that it covers."""

    text: str
    ids: tuple[int, ...]
    spans: Mapping[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.ids)

    def span(self, name: str) -> tuple[int, ...]:
        """Indexes of one span; raises with the nearest right name."""
        if name not in self.spans:
            raise unknown("span", name, self.spans)
        return self.spans[name]


def plain(model: Model, text: str, skip: int = 50) -> Prompt:
    """A bare text. Spans: `body` (tokens from index `skip` on) and `words` (all but the first token, the attention sink).

    Raises CourseError for a text that ends before token `skip`: a mean over nothing is not a number.
    """
    if not isinstance(text, str) or not text.strip():
        raise CourseError(f"empty text: expected a story of more than {skip} tokens")
    ids = _encode(model, text)
    if len(ids) <= skip:
        raise CourseError(f"text too short: {len(ids)} tokens where the mean starts at token {skip} ({text[:40]!r} ...)")
    return Prompt(text, ids, {"body": tuple(range(skip, len(ids))), "words": tuple(range(1, len(ids)))})


def chat(model: Model, user: str, *, system: str | None = None, prefill: str = "") -> Prompt:
    """One user turn and the start of the assistant's, in the model's own chat format.

    Spans: `user` (the user's words), `user_end` (their last token), `assistant` (the last token before the reply: the paper's
    "Assistant colon"), and with `prefill` also `prefill` (the first words of the reply, put in its mouth).
    """
    if not model.has_chat:
        raise CourseError(f"{model.name} has no chat format: it is a base model; use plain text")
    turns = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": user}]
    head = model.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    text = head + prefill
    # The template writes its own start token; adding the tokenizer's would make two (transformers keeps both, silently).
    encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = tuple(encoded["input_ids"]), encoded["offset_mapping"]
    _one_start(model, ids)
    start = head.rfind(user.strip())
    words = _covered(offsets, start, start + len(user.strip()))
    spans = {"user": words, "user_end": words[-1:], "assistant": (max(i for i, (a, _) in enumerate(offsets) if a < len(head)),)}
    if prefill:
        spans["prefill"] = _covered(offsets, len(head), len(text))
    return Prompt(text, ids, spans)


def with_span(model: Model, prompt: Prompt, name: str, part: str) -> Prompt:
    """`prompt` with one more span: the tokens of the last occurrence of `part` in its text."""
    start = prompt.text.rfind(part)
    if not part or start < 0:
        raise CourseError(f"{part!r} does not occur in the prompt {prompt.text[:40]!r} ...")
    encoded = model.tokenizer(prompt.text, add_special_tokens=False, return_offsets_mapping=True)
    shift = len(prompt.ids) - len(encoded["input_ids"])  # a start token the tokenizer put before a bare text
    found = tuple(i + shift for i in _covered(encoded["offset_mapping"], start, start + len(part)))
    return Prompt(prompt.text, prompt.ids, {**prompt.spans, name: found})


def continuation(model: Model, prompt: Prompt, text: str) -> Prompt:
    """`prompt` followed by `text` (say, a written-out action), with the span `answer` over the tokens of `text`.

    The two are tokenised apart, so that every continuation shares the very same prefix.
    """
    ids = tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    if not ids:
        raise CourseError("empty continuation: expected the words whose probability is asked")
    spans = {**prompt.spans, "answer": tuple(range(len(prompt.ids), len(prompt.ids) + len(ids)))}
    return Prompt(prompt.text + text, prompt.ids + ids, spans)


def token_texts(model: Model, ids: Sequence[int]) -> list[str]:
    """Each token as the characters it stands for."""
    return [model.tokenizer.decode([i]) for i in ids]


def _encode(model: Model, text: str) -> tuple[int, ...]:
    ids = tuple(model.tokenizer(text)["input_ids"])
    _one_start(model, ids)
    return ids


def _one_start(model: Model, ids: Sequence[int]) -> None:
    start = model.tokenizer.bos_token_id
    if start is not None and start not in (model.tokenizer.eos_token_id, model.tokenizer.pad_token_id) and list(ids[:2]) == [start, start]:
        raise CourseError(f"two start tokens: {model.name}'s chat template already writes {model.tokenizer.bos_token!r}")


def _covered(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, ...]:
    found = tuple(i for i, (a, b) in enumerate(offsets) if a < end and b > start)
    if not found:
        raise CourseError("the span covers no token: expected at least one character of text")
    return found
