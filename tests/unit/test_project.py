"""The house keeps its own rules: pins in step, notebooks clean, nothing of anybody's machine, modules small."""

import ast
import re
import subprocess

import nbformat
import pytest

from helpers.environment import check_environment, pins
from helpers.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted((ROOT / "helpers").rglob("*.py"))


def test_environment_yml_and_requirements_are_in_step():
    listed = dict(re.findall(r"^\s+- ([A-Za-z0-9_-]+)==(\S+)$", (ROOT / "environment.yml").read_text(), re.M))
    assert listed == pins()


def test_every_requirement_says_why():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    assert all("#" in line and len(line.split("#")[1].strip()) > 3 for line in lines)


def test_the_environment_check_answers_plainly():
    checks = check_environment()
    assert [c.ok for c in checks] == [True] * len(checks), "\n".join(map(str, checks))
    from helpers.environment import Check

    assert str(Check(False, "weights missing", "run make setup")) == "FIX   weights missing: run make setup"


def test_every_notebook_of_the_spine_is_there():
    assert [n.name[:2] for n in NOTEBOOKS][:6] == ["00", "01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_executed_in_order_and_clean(path):
    notebook = nbformat.read(path, 4)
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert "widgets" not in notebook.metadata
    assert not any(o.output_type == "error" for c in code for o in c.outputs)
    lengths = sorted(len(c.source.splitlines()) for c in code)
    assert lengths[-1] <= 25 and lengths[len(lengths) // 2] <= 8
    assert max(len(line) for c in code for line in c.source.splitlines()) <= 120
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for part in ("The claim of this notebook", "You will", "You need", "Time", "In one sentence"):
        assert part in text, part
    assert any("nbval-check-output" in c.metadata.get("tags", []) for c in code)
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs)
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_modules_are_small_and_documented(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 300
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    public = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]
    assert [n.name for n in public if not ast.get_docstring(n) and n.name != "main"] == []


def test_only_the_tracing_modules_know_nnsight():
    users = {p.stem for p in MODULES if re.search(r"^\s*(from|import) nnsight", p.read_text(), re.M)}
    assert users <= {"models", "remote"}
    drawing = {p.stem for p in MODULES if "matplotlib" in p.read_text()}
    assert drawing <= {"plots", "widgets"}


def test_nothing_of_anybodys_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for name in files:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yml", ".toml", ".csv", ".ipynb", ".txt"} and path.exists():
            assert not re.search(r"[\s\"'=(](/(work|root)/|/(home|Users)/[a-z]+/)", path.read_text(errors="replace")), name
