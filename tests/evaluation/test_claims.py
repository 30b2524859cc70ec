"""Claims: each can be trained as it stands, and its outcome becomes records."""

import json

import pytest
import yaml

from snellen import api, claims
from snellen.claims import list_claims, read_claim
from snellen.cli import main
from snellen.config import to_dict
from snellen.evaluation.claims_page import claims_section
from snellen.evaluation.compare_worker import work
from snellen.evaluation.recording import METRICS
from snellen.evaluation.reproduce import claim_plan
from snellen.evaluation.results import read_records
from tiny import write_discs, write_recipe

CLAIM = {
    "paper": "A paper",
    "claim": "Average pooling finds discs better.",
    "figure": "none",
    "differences": ["Discs are not faces."],
    "split": "test",
    "seeds": [0],
    "metrics": ["nme", "median"],
    "robustness": False,
    "rows": {
        "max": {"record": "discs/max/cpu"},
        "avg": {"record": "discs/avg/cpu", "settings": {"pool": "avg"}, "note": "A note"},
    },
    "quick": {"train.steps": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", list_claims())
def test_every_claim_can_be_trained(name, tmp_path):
    claim = read_claim(name)
    for quick in (False, True):
        plan = claim_plan(claim, data="DATA", quick=quick, runs=tmp_path)
        assert all(plan.config(row, 0).data.root == "DATA" for row in plan.rows)
    assert set(claim.metrics) <= set(METRICS)
    records = [row.record for row in claim.rows.values()]
    assert len(set(records)) == len(records)
    assert claim.claim.endswith(".")


def test_quick_runs_stay_away_from_the_test_and_from_the_claims_runs(tmp_path):
    claim = read_claim("lift-camvid")
    plan, quick = (claim_plan(claim, data="DATA", quick=q, runs=tmp_path) for q in (False, True))
    assert (plan.split, quick.split) == ("test", "val")
    assert str(plan.folder(plan.rows[0], 0).path) == str(tmp_path / "camvid-segnet-max-cpu-seed0")
    assert plan.out not in quick.folder(quick.rows[0], 0).path.parents
    assert quick.out in quick.folder(quick.rows[0], 0).path.parents
    assert (len(quick.rows), quick.seeds) == (2, (0,))


@pytest.fixture
def discs(tmp_path, monkeypatch):
    """A claim on tiny data whose runs are trained already; the folder of the claims."""
    recipe = write_recipe(write_discs(tmp_path / "data"), tmp_path / "elsewhere")
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "discs.yaml").write_text(yaml.safe_dump({**CLAIM, "recipe": str(recipe)}, sort_keys=False))
    monkeypatch.setattr(claims, "_FOLDER", folder)
    monkeypatch.chdir(tmp_path)  # scoring a test leaves its trace in the run's folder
    claim = read_claim("discs")
    plan = claim_plan(claim, data=None, runs=tmp_path / "runs")
    for row in plan.rows:
        job = {"config": to_dict(plan.config(row, 0)), "command": plan.command(row, 0), "split": "test"}
        assert work({**job, "robustness": False, "needs": claim.metrics})
    return tmp_path


def test_the_outcome_of_a_claim_becomes_records(discs, capsys):
    assert main(["reproduce"]) == 0
    assert capsys.readouterr().out == "discs  Average pooling finds discs better.\n"
    found = api.reproduce("discs", runs=discs / "runs", results=discs / "results")
    assert found["records"] == ["discs/max/cpu", "discs/avg/cpu"]
    assert any("Discs are not faces." in note for note in found["notes"])
    records = read_records(discs / "results")
    assert [(r.name, r.metric) for r in records] == [
        (name, metric) for name in found["records"] for metric in ("nme", "median over images")
    ]
    stored = json.loads((discs / "runs" / "discs-avg-cpu-seed0" / "evaluation-test.json").read_text())["scores"]
    assert records[2].values == [100 * stored["nme"]]
    assert records[2].note == "A note"
    assert "--model.choices.pool avg --seed N --name discs-avg-cpu-seedN && snellen evaluate" in records[2].command
    # One look at the test a run, and none by comparing.
    assert len((discs / "runs" / "discs-avg-cpu-seed0" / "test-evaluations.jsonl").read_text().splitlines()) == 1
    page = "\n".join(claims_section(records))
    assert f"| avg | discs/avg/cpu | {records[2].mean:.2f} % |" in page
    assert "- Discs are not faces." in page


def test_a_claim_without_runs_is_listed_as_missing():
    page = "\n".join(claims_section([]))
    assert all(f"### {name}" in page for name in list_claims())
    assert page.count("not run") == sum(len(read_claim(name).rows) for name in list_claims())


def test_what_cannot_be_reproduced_is_refused(capsys):
    assert main(["reproduce", "lift-camvi"]) == 1
    assert "nearest: lift-camvid" in capsys.readouterr().err
    assert main(["reproduce", "lift-camvid", "--quick", "--results", "results"]) == 1
    assert "not recorded" in capsys.readouterr().err
