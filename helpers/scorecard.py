"""The scorecard: paper, best open replications, yours; every number of yours with interval, n and baseline. JSON, Markdown, picture, terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from helpers.artifacts import write_bytes
from helpers.corpus import read_table
from helpers.errors import unknown
from helpers.paths import DATA
from helpers.stats import Estimate


@dataclass(frozen=True)
class Row:
    """One line of the scorecard; `verdict` is words, made from the numbers."""

    id: str
    title: str
    paper: str
    replications: str
    ours: float
    low: float
    high: float
    n: int
    baseline: float | None
    baseline_name: str
    verdict: str
    seconds: float


def make_row(row_id: str, estimate: Estimate, *, seconds: float, baseline: Estimate | None = None, baseline_name: str = "") -> Row:
    """A row for one estimate. Without a baseline of its own, the upper end of the estimate's chance band is the baseline.

    The verdict compares the interval with the chance band and with the interval of the no-model baseline, which was measured on the same
    few words or prompts and wobbles as much; it never compares with the paper's number, which comes from another model and corpus.
    """
    reference = read_table(DATA / "reference_results.csv", ("id", "title", "paper", "replications")).set_index("id")
    if row_id not in reference.index:
        raise unknown("scorecard row", row_id, reference.index)
    known = reference.loc[row_id].fillna("")
    return Row(row_id, str(known.title), str(known.paper), str(known.replications), round(estimate.value, 4), round(estimate.low, 4), round(estimate.high, 4), estimate.n,
               None if baseline is None and estimate.null is None else round(estimate.null[1] if baseline is None else baseline.value, 4),
               baseline_name or estimate.null_name, _verdict(estimate, baseline, baseline_name), round(seconds, 1))


def _verdict(estimate: Estimate, baseline: Estimate | None, baseline_name: str) -> str:
    parts = []
    if estimate.null is not None:
        parts.append("beyond chance" if estimate.low > estimate.null[1] else "above chance, interval overlaps" if estimate.value > estimate.null[1] else "within chance")
    if baseline is not None:
        parts.append(f"above {baseline_name}" if estimate.low > baseline.high else f"no better than {baseline_name}" if estimate.value <= baseline.value else f"not clearly above {baseline_name}")
    return "; ".join(parts) or "measured"


def write_scorecard(rows: Sequence[Row], folder: Path, *, heading: str) -> None:
    """scorecard.json (a list of rows), scorecard.md and scorecard.png."""
    write_bytes(folder / "scorecard.json", json.dumps([asdict(row) for row in rows], indent=1).encode())
    lines = [f"# {heading}", "", "| what | paper | open replications | yours [95% interval], n | baseline | verdict |", "|---|---|---|---|---|---|"]
    lines += [f"| {r.title} | {r.paper or '-'} | {r.replications or '-'} | {_ours(r)} | {_baseline(r)} | {r.verdict} |" for r in rows]
    write_bytes(folder / "scorecard.md", ("\n".join(lines) + "\n").encode())
    from helpers import plots  # drawing is the last thing a run needs

    plots.save(plots.scorecard(rows, title=heading), folder / "scorecard.png")


def print_scorecard(rows: Sequence[Row], *, heading: str, console: Console | None = None) -> None:
    """The scorecard in the terminal, two lines a row so that it reads at any width."""
    say = console or Console()
    say.rule(heading, align="left")
    for row in rows:
        say.print(f"[bold]{escape(row.title)}[/bold]", highlight=False)
        parts = [f"yours {_ours(row)}", f"baseline {_baseline(row)}" if row.baseline is not None else "", f"paper {row.paper}" if row.paper else "",
                 f"replications {row.replications}" if row.replications else "", row.verdict]
        say.print(Padding(escape(" | ".join(part for part in parts if part)), (0, 0, 0, 3)), highlight=False)


def _ours(row: Row) -> str:
    if row.id == "capture.tokens_per_second":
        return f"{row.ours:.0f} [{row.low:.0f}, {row.high:.0f}], n = {row.n}"
    return f"{row.ours:.2f} [{row.low:.2f}, {row.high:.2f}], n = {row.n}"


def _baseline(row: Row) -> str:
    return "-" if row.baseline is None else f"{row.baseline:.2f} ({row.baseline_name})"
