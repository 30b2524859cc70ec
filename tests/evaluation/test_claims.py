"""Claims: each can be trained as it stands, and its outcome becomes records."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from snellen import api, claims
from snellen.claims import list_claims, read_claim
from snellen.cli import main
from snellen.cli.training import parse_train
from snellen.config import ConfigError, to_dict
from snellen.data.mask_formats import CAMVID_CLASSES
from snellen.evaluation.compare.reproduce import claim_plan
from snellen.evaluation.compare.runs import next_run, unfinished
from snellen.evaluation.compare.settings import differing_settings
from snellen.evaluation.compare.worker import complete, work
from snellen.evaluation.results.claims import claims_section
from snellen.evaluation.results.recording import METRICS
from snellen.evaluation.results.records import read_records
from snellen.evaluation.results.tables import has_table
from structures import denoiser_recipe, keypoint_recipe, write_shapes
from tiny import write_discs, write_recipe

#: What "Must show" of the issues names, as far as runs of recipes fill it.
WANTED = """
faces68/rcn faces68/timm faces68/rcn-paper faces5/rcn-lift/cpu faces5/rcn-liftup/cpu faces5/rcn-ms-sar/cpu
cifar100/pool-max/cpu cifar100/pool-avg/cpu cifar100/pool-blur/cpu cifar100/pool-lift/cpu cifar100/pool-lift-ll/cpu
cifar100/pool-lift-noreg/cpu cifar100/recal-none/cpu cifar100/recal-se/cpu cifar100/recal-ms-sar-1/cpu
cifar100/recal-ms-sar/cpu cifar100/recal-symmetric/cpu cifar100/recal-cell/cpu
camvid/segnet-max/cpu camvid/segnet-lift/cpu camvid/unet/cpu camvid/deeplab/cpu camvid/uniform-160/cpu camvid/zoom-160/cpu
faces68/full-uniform/cpu faces68/full-zoom/cpu faces68/full-oracle/cpu faces68/full-crop/cpu
faces68/full-uniform-equal-macs/cpu
gaze/best gaze/canvas-uniform/cpu gaze/canvas-zoom/cpu gaze/canvas-crop/cpu
wings-species/uniform wings-species/zoom wings-species/crop
faces68/plain faces68/denoised faces68/occluded faces68/denoised-occluded
wings/plain wings/denoised wings/occluded wings/denoised-occluded
"""

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
    "cost": "a minute",
    "quick": {"train.steps": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", list_claims())
def test_every_claim_can_be_trained(name, tmp_path):
    claim = read_claim(name)
    data = None if "wings" in name else "DATA"  # wings are drawn
    for quick in (False, True):
        plan = claim_plan(claim, data=data, quick=quick, runs=tmp_path)
        assert all(getattr(plan.config(row, 0).data, "root", data) == data for row in (*plan.rows, *plan.judges))
        assert all(plan.config(judge, 0).task == "denoising" for judge in plan.judges)
        # A smoke run stays one, whatever its rows set.
        assert not quick or all(plan.config(row, 0).train.steps <= 10 for row in (*plan.rows, *plan.judges))
    for metric in {*claim.metrics, *(m for row in claim.rows.values() for m in row.metrics)}:
        known = (*METRICS, *(f"per_class_iou.{name}" for name in CAMVID_CLASSES))
        assert metric in known or metric.startswith("nme:")
    records = [row.record for row in claim.rows.values()]
    assert len(set(records)) == len(records)
    assert claim.claim.endswith(".")
    assert claim.cost


def test_claims_fill_the_records_that_are_wanted_and_those_that_are_stored():
    rows = [row for name in list_claims() for row in read_claim(name).rows.values()]
    names = {row.record for row in rows}
    assert set(WANTED.split()) <= names
    stored = read_records(Path(__file__).parents[2] / "results")
    assert {r.name for r in stored if has_table(r)} <= names
    # A record that several claims share is of the same runs, scored in the same way.
    for name in names:
        same = [(row.runs or row.record.replace("/", "-"), row.scoring) for row in rows if row.record == name]
        assert all(one == same[0] for one in same)


@pytest.mark.parametrize(
    ("name", "ideas"),
    [
        (
            "everything-on-faces68",
            {"no-zoom": "zoom", "no-lift": "pool", "no-ms-sar": "recalibrate", "no-recombination": "aggregate"},
        ),
        (
            "everything-on-faces68-boxes",
            {"no-lift": "pool", "no-ms-sar": "recalibrate", "no-recombination": "aggregate"},
        ),
        ("everything-on-camvid", {"no-zoom": "zoom", "no-ms-sar": "recalibrate"}),
    ],
)
def test_an_ablation_takes_one_idea_away(name, ideas, tmp_path):
    plan = claim_plan(read_claim(name), data="DATA", runs=tmp_path)
    rows = {row.name: row for row in plan.rows}
    whole = plan.config(rows["everything"], 0)
    for row, idea in ideas.items():
        changed = differing_settings(whole, plan.config(rows[row], 0))
        assert changed
        # SumNet mixes its branches' maps, which a Recombinator Network does not have; a plain resize has nothing to supervise.
        more = {"aggregate": ("model.choices.mixing",), "zoom": ("train.zoom_boxes", "train.zoom_guide")}.get(idea, ())
        assert all(key.startswith((f"model.choices.{idea}", *more)) for key in changed)
        assert rows[row].scoring == rows["everything"].scoring
    if "no-denoiser" in rows:
        assert rows["no-denoiser"].folder == rows["everything"].folder
        assert not differing_settings(whole, plan.config(rows["no-denoiser"], 0))


def test_quick_runs_stay_away_from_the_test_and_from_the_claims_runs(tmp_path):
    claim = read_claim("lift-camvid")
    plan, quick = (claim_plan(claim, data="DATA", quick=q, runs=tmp_path) for q in (False, True))
    assert (plan.split, quick.split) == ("test", "val")
    assert str(plan.folder(plan.rows[0], 0).path) == str(tmp_path / "camvid-segnet-max-cpu-seed0")
    assert plan.out not in quick.folder(quick.rows[0], 0).path.parents
    assert quick.out in quick.folder(quick.rows[0], 0).path.parents
    assert (len(quick.rows), quick.seeds) == (2, (0,))


def test_recorded_commands_train_what_the_claims_say():
    """A recipe or claim that is changed after its runs would make their commands untrue."""
    recorded = {r.name: r for r in read_records(Path(__file__).parents[2] / "results")}
    for name in list_claims():
        claim = read_claim(name)
        plan = claim_plan(claim, data="DATA")
        for row in plan.rows:
            record = recorded.get(claim.rows[row.name].record)
            if record is None:
                continue
            trained = shlex.split(record.command.split(" && ")[0])
            assert trained[:2] == ["snellen", "train"], record.name
            config, _ = parse_train(["0" if word == "N" else word for word in trained[2:]])
            mask = config.model.choices.get("branch_mask")
            if mask is not None:  # which models take as a number too
                config.model.choices["branch_mask"] = f"{mask:>04}"
            different = differing_settings(config, plan.config(row, 0))
            assert set(different) <= {"train.threads", "data.root"}, (record.name, different)


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


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A claim whose rows share runs and are scored in several ways, one with a denoiser."""
    root = write_shapes(tmp_path / "data")
    for name, settings in (("image", keypoint_recipe(root, tmp_path)), ("judge", denoiser_recipe(root, tmp_path))):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    folder = tmp_path / "claims"
    folder.mkdir()
    gains = [f"denoiser.gains.{part}" for part in ("all.difference", "hardest tenth.first", "hardest tenth.second")]
    joined = {"denoiser": str(tmp_path / "judge.yaml"), "denoiser_weight": 0.5}
    rows = {
        "plain": {"record": "shapes/plain", "runs": "image"},
        "argmax": {"record": "shapes/argmax", "runs": "image", "scoring": {"decoder": "argmax"}},
        "joined": {"record": "shapes/joined", "runs": "image", "scoring": joined, "metrics": ["nme", *gains]},
    }
    claim = {**CLAIM, "recipe": str(tmp_path / "image.yaml"), "split": "val", "rows": rows}
    (folder / "shapes.yaml").write_text(yaml.safe_dump(claim, sort_keys=False))
    monkeypatch.setattr(claims, "_FOLDER", folder)
    return claim_plan(read_claim("shapes"), data=None, runs=tmp_path / "runs")


def test_rows_that_share_runs_wait_for_one_another_and_for_their_denoiser(shapes):
    waiting = unfinished(shapes)
    judge, plain, argmax, joined = waiting
    assert [run.row.name for run in waiting[1:]] == ["plain", "argmax", "joined"]
    assert judge.row in shapes.judges
    assert next_run(shapes, waiting, []) == judge
    assert next_run(shapes, waiting[1:], [judge]) == plain
    assert next_run(shapes, [argmax, joined], [judge, plain]) is None
    assert next_run(shapes, [joined], [judge]) is None
    assert next_run(shapes, [argmax, joined], [judge]) == argmax
    assert next_run(shapes, [joined], []) == joined


def test_runs_are_trained_once_and_scored_in_every_way(shapes, tmp_path):
    for run in unfinished(shapes):
        assert not complete(shapes, run.row, run.seed)
        job = {
            "config": to_dict(shapes.config(run.row, 0)), "command": "", "robustness": False,
            "split": None if run.row in shapes.judges else "val", "needs": run.row.needs or shapes.needs,
            "scoring": run.row.scoring, "asked": shapes.asked(run.row, 0),
        }  # fmt: skip
        assert work(job)
        assert complete(shapes, run.row, run.seed)
    assert sorted(f.name for f in (tmp_path / "runs").iterdir()) == ["image-seed0", "judge-seed0"]
    found = api.reproduce("shapes", runs=tmp_path / "runs", results=tmp_path / "results")
    assert found["records"] == ["shapes/plain", "shapes/argmax", "shapes/joined"]
    assert any("scored in different ways" in note for note in found["notes"])
    records = {(r.name, r.metric): r for r in read_records(tmp_path / "results")}
    plain, argmax, joined = (records[f"shapes/{row}", "nme"] for row in ("plain", "argmax", "joined"))
    assert plain.values != argmax.values
    change = records["shapes/joined", "change of nme, all"]
    np.testing.assert_allclose(change.values, np.subtract(joined.values, plain.values), atol=1e-9)
    # The hardest tenth is that of both models' errors together.
    hardest = ("nme, hardest tenth", "nme without the denoiser, hardest tenth")
    assert sum(records["shapes/joined", part].mean for part in hardest) >= joined.mean + plain.mean
    # What a comparison calls the gain of a row is the same difference, the better way up.
    np.testing.assert_allclose(found["gains"][1]["gain"], -change.mean, atol=1e-9)
    assert argmax.command.endswith("snellen evaluate runs/image-seedN --split val --no-robustness --decoder argmax")
    assert joined.command.endswith("--denoiser runs/judge-seedN --denoiser-weight 0.5")
    assert "--name judge-seedN && snellen evaluate" in joined.command
    assert str(tmp_path / "runs") not in json.dumps(joined.extra)


def test_rows_may_be_chosen_and_impossible_scorings_are_refused(shapes, tmp_path):
    claim = read_claim("shapes")
    plan = claim_plan(claim, data=None, only=["joined", "plain"], runs=tmp_path / "runs")
    assert [row.name for row in plan.rows] == ["plain", "joined"]
    with pytest.raises(ConfigError, match=r"has no row 'join'.*it has plain, argmax, joined"):
        claim_plan(claim, data=None, only=["plain", "join"], runs=tmp_path / "runs")
    twice = replace(claim, rows={**claim.rows, "again": claim.rows["argmax"]})
    with pytest.raises(ConfigError, match="two rows are kept in folders"):
        claim_plan(twice, data=None, runs=tmp_path / "runs")
    argmax = claim.rows["argmax"]
    for changed, says in (
        ({"settings": {"train.lr": 0.1}}, "'plain' and 'argmax' share the runs 'image' but are trained"),
        ({"scoring": {"decode": "argmax"}}, "'argmax' cannot be scored with decode; nearest: decoder"),
    ):
        with pytest.raises(ConfigError, match=says):
            claim_plan(replace(claim, rows={**claim.rows, "argmax": replace(argmax, **changed)}), data=None)
    other = replace(claim, recipe="cifar100-recal", rows={"plain": claim.rows["plain"], "argmax": claim.rows["argmax"]})
    with pytest.raises(ConfigError, match="only keypoints are scored in other ways"):
        claim_plan(other, data="DATA", runs=tmp_path / "runs")
