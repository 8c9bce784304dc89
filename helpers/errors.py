"""One-line errors: what was wrong, what was expected, and the nearest right name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CourseError(ValueError):
    """An error a learner can act on. In a notebook it shows as one line, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        # IPython calls this instead of printing the stack: the line is the message.
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, name: object, options: Iterable[object]) -> CourseError:
    """The error for a name that is not among `options`, with the nearest right one."""
    names = [str(option) for option in options]
    near = get_close_matches(str(name).strip().lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    return CourseError(f"unknown {kind} {name!r}: {hint}")
