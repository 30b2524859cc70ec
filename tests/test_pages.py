"""The pages of docs/ and the README: their examples run, their links lead somewhere, their numbers have records."""

import doctest
import fnmatch
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import snellen
from snellen.claims import list_claims, read_claim
from snellen.data import Wings
from snellen.evaluation.results.records import Record, mean_interval, read_records
from snellen.recipes import list_recipes

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
IDEAS = sorted((DOCS / "understand").glob("*.md"))
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")] + sorted(DOCS.rglob("*.md"))
RESULTS = REPOSITORY / "results"


def names(pages):
    return [str(page.relative_to(REPOSITORY)) for page in pages]


@pytest.mark.parametrize("page", IDEAS, ids=names(IDEAS))
def test_the_examples_of_an_idea_give_what_the_page_says(page):
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    assert sum(len(e.source.splitlines()) for e in examples.examples) >= 5
    said = []
    outcome = doctest.DocTestRunner().run(examples, out=said.append)
    assert outcome.failed == 0, "".join(said)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_pictures_and_recipes_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, place = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if place else []
        assert not place or place in [re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings], target
    for script in re.findall(r"\bbenchmarks/\w+\.py\b", text):
        assert (REPOSITORY / script).exists(), script
    known = list_recipes()
    for recipe in re.findall(r"^(?:\$ )?snellen train ([a-z][\w-]*)(?![\w.-])", text, re.MULTILINE):
        assert recipe in known, recipe


def gaps(pair: tuple[Record, Record]) -> list[float]:
    """The mean difference of two records seed by seed and its 95 % interval, without signs."""
    first, second = pair
    if (first.metric, first.seeds) != (second.metric, second.seeds) or len(first.seeds) < 2:
        return []
    differences = [a - b for a, b in zip(first.values, second.values, strict=True)]
    return [abs(v) for v in (sum(differences) / len(differences), *mean_interval(differences))]


@pytest.mark.parametrize("page", IDEAS, ids=names(IDEAS))
def test_what_was_measured_is_in_the_records_that_are_named_beside_it(page):
    """Those of others, the authors' among them, stand in the specifications."""
    text = page.read_text(encoding="utf-8")
    (said,) = re.findall(r"^## What was measured\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    records = read_records(RESULTS)
    papers = " ".join(file.read_text(encoding="utf-8") for file in (DOCS / "papers").glob("*.md"))
    for paragraph in said.split("\n\n"):
        named = set(re.findall(r"`([\w/*.-]+/[\w/*.-]+)`", paragraph))
        for claim in re.findall(r"snellen reproduce\s+([\w-]+)", paragraph):
            named |= {row.record for row in read_claim(claim).rows.values()}
        found = [r for r in records if any(fnmatch.fnmatchcase(r.name, name) for name in named)]
        values = [v for r in found for v in (r.mean, *r.interval)]
        values += [v for pair in product(found, found) for v in gaps(pair)]
        known = {f"{v:.{digits}f}" for v in values for digits in (1, 2)}
        known |= {n for r in found for n in re.findall(r"\d+\.\d+", r.note)}  # ratios
        if "author" in paragraph.lower() or "paper" in paragraph.lower():
            known |= set(re.findall(r"\d+\.\d+", papers))
        assert set(re.findall(r"\d+\.\d+", re.sub(r"\]\([^)]*\)|`[^`]*`", "", paragraph))) <= known, paragraph


# --- results/ideas.md


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """But for its training: the weights that come along take the run's place."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(snellen, "train", lambda recipe, seed: recipe)
    monkeypatch.setattr(snellen, "evaluate", lambda run, split: {"nme": 0.0})
    monkeypatch.setattr(snellen, "report", lambda run: None)
    wing = Wings(1, seed=5)[0]
    Image.fromarray(wing.image.permute(1, 2, 0).numpy()).save("my-wing.png")
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(wing.keypoints.schema.points)
    found = [[float(v) for v in line.split()[1:3]] for line in lines]
    assert np.median(np.linalg.norm(found - wing.keypoints.xy, axis=1)) < 8


def test_the_page_of_comparisons_lists_every_claim():
    table = (DOCS / "compare.md").read_text(encoding="utf-8").split("| claims | what |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`([\w-]+)`", table)) == sorted(list_claims())


def test_what_is_said_of_the_ideas_is_in_the_records():
    lines = (RESULTS / "ideas.md").read_text(encoding="utf-8").strip().splitlines()
    assert len(lines) <= 10
    records = read_records(RESULTS)
    claims = [read_claim(name) for name in list_claims()]
    names_of = {claim.name: {row.record for row in claim.rows.values()} for claim in claims}
    groups = {name.split("/")[0] for name in {r.name for r in records}.union(*names_of.values())}
    for line in lines:
        quoted = re.findall(r"`([^`]+)`", line)
        named = {q for q in quoted if q.split("/")[0] in groups}
        found = [r for r in records if r.name in named]
        assert {r.name for r in found} == named, line
        if "not measured yet" in line:
            # A claim that has been run since makes the line untrue: say what came out.
            untrue = [
                c for c in names_of if f"snellen reproduce {c}" in quoted and names_of[c] & {r.name for r in records}
            ]
            assert not untrue, line
            assert not re.search(r"\d\.\d", line), line
            continue
        assert named, line
        numbers = {f"{v:.2f}" for r in found for v in (r.mean, *r.interval)}
        numbers |= {f"{v:.2f}" for pair in product(found, found) for v in gaps(pair)}
        assert set(re.findall(r"-?\d+\.\d+", line)) <= numbers, line  # a sign that is wrong is a wrong number
        counts = {f"{r.extra['parameters']:,}" for r in found if "parameters" in r.extra}
        assert set(re.findall(r"\d{1,3}(?:,\d{3})+", line)) <= counts, line
