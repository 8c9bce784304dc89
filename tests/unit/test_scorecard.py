"""The scorecard's verdicts follow from intervals, and its files hold what was measured."""

import json

import pytest

from helpers.errors import CourseError
from helpers.scorecard import make_row, write_scorecard
from helpers.stats import Estimate

ROW = "vectors.implicit_top3"


@pytest.mark.parametrize("ours, words, verdict", [
    (Estimate(0.9, 0.8, 0.95, 24, (0.1, 0.4), "random"), Estimate(0.5, 0.3, 0.7, 24), "beyond chance; above word counts"),
    (Estimate(0.9, 0.8, 0.95, 24, (0.1, 0.4), "random"), Estimate(0.7, 0.5, 0.85, 24), "beyond chance; not clearly above word counts"),
    (Estimate(0.6, 0.3, 0.8, 24, (0.1, 0.4), "random"), Estimate(0.7, 0.5, 0.85, 24), "above chance, interval overlaps; no better than word counts"),
    (Estimate(0.3, 0.1, 0.5, 24, (0.1, 0.4), "random"), Estimate(0.1, 0.0, 0.3, 24), "within chance; not clearly above word counts"),
])
def test_verdicts(ours, words, verdict):
    row = make_row(ROW, ours, seconds=1.0, baseline=words, baseline_name="word counts")
    assert row.verdict == verdict and row.baseline == words.value and row.n == 24


def test_without_a_baseline_the_chance_band_stands_in():
    row = make_row(ROW, Estimate(0.9, 0.8, 0.95, 24, (0.1, 0.4), "random directions"), seconds=1.0)
    assert row.baseline == 0.4 and row.baseline_name == "random directions"
    with pytest.raises(CourseError, match="did you mean 'vectors.implicit_top3'"):
        make_row("vectors.implicit_top33", Estimate(0.9, 0.8, 0.95, 24), seconds=1.0)


def test_files_agree(tmp_path):
    rows = [make_row(ROW, Estimate(0.9, 0.8, 0.95, 24, (0.1, 0.4), "random"), seconds=1.0), make_row("circumplex.pc1_valence.rm1977", Estimate(0.2, -0.1, 0.5, 45), seconds=1.0)]
    write_scorecard(rows, tmp_path, heading="test")
    stored = json.loads((tmp_path / "scorecard.json").read_text())
    assert [r["id"] for r in stored] == [r.id for r in rows] and set(stored[0]) == {"id", "title", "paper", "replications", "ours", "low", "high", "n", "baseline", "baseline_name", "verdict", "seconds"}
    text = (tmp_path / "scorecard.md").read_text()
    assert "0.90 [0.80, 0.95], n = 24" in text and "| 0.81 |" in text
    assert (tmp_path / "scorecard.png").stat().st_size > 5000
