"""What the widgets show, in a real browser: text is visible, coloured, and never run as code."""

import shutil
import subprocess

import pytest

from helpers import widgets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ATTACK = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script> the letter"


def _dom(html: str, tmp_path) -> str:
    page = tmp_path / "page.html"
    page.write_text(f"<html><head><title>quiet</title></head><body>{html}</body></html>", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
    return subprocess.run([CHROMIUM, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_lens_shows_text_and_runs_none(model, course, tmp_path):
    dom = _dom(widgets.lens_html(model, course, ATTACK, "afraid"), tmp_path)
    assert "<title>quiet</title>" in dom and "<img" not in dom and "<script" not in dom
    assert "letter" in dom and "rgba(" in dom and "It moves most" in dom


def test_the_playground_shows_two_replies(model, course, tmp_path):
    dom = _dom(widgets.playground_html(model, course, ATTACK, "calm", 0.2, max_new_tokens=8), tmp_path)
    assert "<title>quiet</title>" in dom and dom.count("<td") == 2 and "unsteered" in dom and "+0.20 calm" in dom
