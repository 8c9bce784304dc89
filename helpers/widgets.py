"""Widgets for the notebooks. Each is a thin shell over a pure function that gives HTML or a figure; the tests call those at every extreme.

Text from a learner or a model is escaped before it becomes HTML. An error shows as its one line, in the widget.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as ipw
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from helpers import plots
from helpers.chat import chat, plain
from helpers.corpus import check_emotion
from helpers.course import Course, neutral_reference
from helpers.dose import repetition
from helpers.errors import CourseError
from helpers.geometry import NORMS, circumplex_of
from helpers.lens import read_emotions
from helpers.models import Model
from helpers.steering import generate

MAX_STRENGTH = 0.5


def lens_html(model: Model, course: Course, text: str, emotion: str = "happy", k: int = 8) -> str:
    """A text coloured by one emotion's reading (standard deviations over neutral texts; red above, blue below), and the k emotions it moves most."""
    emotion = check_emotion(emotion, course.vectors.emotions)
    reading = read_emotions(model, course.vectors, text)
    mean, spread = neutral_reference(course)
    z = (reading.values - mean) / spread
    column = reading.emotions.index(emotion)
    pieces = "".join(f'<span style="background:{_tint(value)}" title="{value:+.1f} sd">{escape(token)}</span>' for token, value in zip(reading.tokens, z[:, column]))
    whole = z.mean(0)
    first = escape(model.tokenizer.decode(plain(model, text, 0).ids[:1]))
    bars = "".join(f"<tr><td>{escape(reading.emotions[i])}</td><td>{_bar(whole[i])}</td><td>{whole[i]:+.1f} sd</td></tr>" for i in np.argsort(-whole)[:k])
    return (f'<div style="font:15px/1.7 sans-serif;white-space:pre-wrap"><span title="the first token is an attention sink and is not read">{first}</span>{pieces}</div>'
            f'<p style="font:12px sans-serif">{escape(emotion)} at block {reading.block}: mean {whole[column]:+.1f} sd over neutral texts. It moves most:</p>'
            f'<table style="font:12px sans-serif">{bars}</table>')


def explorer_figure(course: Course, block: int, ratings: str, denoised: bool = True) -> Figure:
    """The circumplex at one block against one set of ratings."""
    vectors = course.vectors if denoised else course.raw
    name = "fixed in advance" if block == vectors.default else "chosen by you, after the fact"
    return plots.circumplex(circumplex_of(vectors, block, ratings=ratings), title=f"Block {block} ({name}), {ratings}, {'denoised' if denoised else 'raw'}", source=course.source)


def playground_html(model: Model, course: Course, prompt: str, emotion: str, strength: float, *, max_new_tokens: int = 40) -> str:
    """The reply without and with steering, side by side."""
    if not prompt.strip():
        raise CourseError("empty prompt: type what the model should answer")
    if abs(strength) > MAX_STRENGTH:
        raise CourseError(f"strength {strength}: expected -{MAX_STRENGTH} to {MAX_STRENGTH}; beyond that every text breaks down")
    emotion = check_emotion(emotion, course.vectors.emotions)
    at = chat(model, prompt) if model.has_chat else plain(model, prompt, 0)
    plain_reply, steered = generate(model, [at, at], [None, strength * course.vectors[emotion]], max_new_tokens=max_new_tokens)
    cells = "".join(f'<td style="vertical-align:top;width:50%;padding:6px"><b>{escape(name)}</b> <small>(repetition {repetition(reply.text):.0%})</small>'
                    f'<div style="white-space:pre-wrap">{escape(reply.text)}</div></td>' for name, reply in (("unsteered", plain_reply), (f"{strength:+.2f} {emotion}", steered)))
    return f'<table style="font:13px/1.5 sans-serif;width:100%"><tr>{cells}</tr></table>'


def emotion_lens(model: Model, course: Course, text: str) -> ipw.VBox:
    """Type any text; see which emotions it moves."""
    box = ipw.Textarea(value=text, layout=ipw.Layout(width="100%", height="70px"))
    emotion = ipw.Dropdown(options=course.vectors.emotions, value="happy", description="colour by")
    return _shell([box, emotion], lambda: HTML(lens_html(model, course, box.value, emotion.value)), "Read")


def circumplex_explorer(course: Course) -> ipw.VBox:
    """Move through blocks and ratings."""
    block = ipw.IntSlider(value=course.vectors.default, min=min(course.vectors.blocks), max=max(course.vectors.blocks), description="block", continuous_update=False)
    ratings = ipw.Dropdown(options=list(NORMS), description="ratings")
    denoised = ipw.Checkbox(value=True, description="denoised")
    return _shell([block, ratings, denoised], lambda: explorer_figure(course, block.value, ratings.value, denoised.value), "Draw")


def steering_playground(model: Model, course: Course, prompt: str = "How was your day?") -> ipw.VBox:
    """One prompt, one emotion, one strength; the reply beside the unsteered one."""
    box = ipw.Text(value=prompt, layout=ipw.Layout(width="100%"))
    emotion = ipw.Dropdown(options=course.vectors.emotions, value="calm", description="emotion")
    strength = ipw.FloatSlider(value=0.15, min=-MAX_STRENGTH, max=MAX_STRENGTH, step=0.05, description="strength", continuous_update=False)
    return _shell([box, emotion, strength], lambda: HTML(playground_html(model, course, box.value, emotion.value, strength.value)), "Write")


def _shell(controls: list[ipw.Widget], draw: Callable[[], HTML | Figure], label: str) -> ipw.VBox:
    """Controls, a button and an output; the work is done on a click, so that a notebook that is only read shows nothing broken."""
    out, button = ipw.Output(), ipw.Button(description=label, button_style="primary")

    def clicked(_: object) -> None:
        out.outputs = ()
        try:
            shown = draw()
        except CourseError as error:
            shown = HTML(f'<p style="color:#c1121f;font:13px sans-serif">{escape(str(error))}</p>')
        out.append_display_data(shown)

    button.on_click(clicked)
    return ipw.VBox([*controls, button, out])


def _tint(z: float) -> str:
    strength = min(abs(z) / 6, 1)
    red, blue = ("200,85,61", "42,111,151")
    return f"rgba({red if z > 0 else blue},{strength:.2f})"


def _bar(z: float) -> str:
    return f'<div style="background:#c8553d;height:9px;width:{max(0, min(z, 12)) * 14:.0f}px"></div>'
