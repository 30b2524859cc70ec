"""Named subsets of a split: how they weigh, and how they reach file, command line and report."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from synthetic_record import make_record

from faces import write_pts
from snellen.cli import main
from snellen.evaluation.groups import GroupScore, group_scores
from snellen.evaluation.record import EvaluationRecord
from snellen.evaluation.reports.keypoints import render_report

PLAIN = dataclasses.replace(make_record("mtfl-5", 30, seed=1), samples=[], coarse_to_fine=[])


def test_full_is_the_mean_weighted_by_number():
    # rcn.md 3.6 and the authors' poster: Common 4.67, iBUG 8.44, Full 5.41 of 554 and 135 images.
    errors = np.r_[np.full(554, 0.0467), np.full(135, 0.0844)]
    scores = group_scores(errors, {"common": range(554), "challenging": range(554, 689)})
    assert (scores["common"].images, scores["challenging"].images) == (554, 135)
    full = (554 * scores["common"].nme + 135 * scores["challenging"].nme) / 689
    assert full == pytest.approx(errors.mean())
    assert round(100 * full, 2) == 5.41


def test_groups_may_overlap_and_leave_images_out():
    errors = [0.1, 0.2, np.nan, 0.6, np.inf]
    scores = group_scores(errors, {"a": [0, 1, 2], "b": [1, 3], "none": [2], "diverged": [0, 4], "empty": []})
    assert scores["a"] == GroupScore(pytest.approx(0.15), 2)
    assert scores["b"] == GroupScore(pytest.approx(0.4), 2)
    assert scores["none"] == scores["empty"] == GroupScore(None, 0)
    assert scores["diverged"] == GroupScore(None, 2)


def test_the_report_shows_groups_only_where_there_are_some(tmp_path):
    record = dataclasses.replace(PLAIN, groups={"pose <large>": [3, 5, 7], "blur": list(range(20))})
    record.save(tmp_path / "record")
    again = EvaluationRecord.load(tmp_path / "record")
    assert again.groups == record.groups
    page = render_report(again)
    assert "Groups of images" in page
    errors = record.errors_of_images()
    assert f"<td>pose &lt;large&gt;</td><td>{100 * errors[[3, 5, 7]].mean():.2f} %</td><td>3</td>" in page
    assert f"<td>all</td><td>{100 * np.nanmean(errors):.2f} %</td><td>30</td>" in page
    assert "Groups of images" not in render_report(PLAIN)


def test_groups_from_the_folders_to_the_report(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the ledger of test evaluations goes into the run, not into results/ of the checkout
    names = (
        [f"helen/trainset/{i}_1" for i in range(16)] + [f"helen/testset/{i}_1" for i in range(5)] + ["ibug/a", "ibug/b"]
    )
    write_pts(tmp_path / "faces", names, count=5)
    recipe = tmp_path / "tiny.yaml"
    settings = {
        "data": {
            "format": "pts",
            "root": str(tmp_path / "faces"),
            "schema": "mtfl-5",
            "canvas": [32, 32],
            "val_share": 0.3,
        },
        "model": {"name": "rcn5", "choices": {"branches": 4, "width": 0.5}},
        "train": {"steps": 2, "batch_size": 4, "threads": 1},
    }
    recipe.write_text(yaml.safe_dump(settings))
    flags = ["--data.train_folders", "[helen/trainset]", "--data.test_groups.common", "[helen/testset]"]
    flags += ["--data.test_groups.challenging", "[ibug]", "--name", "tiny"]
    assert main(["train", str(recipe), *flags]) == 0
    run = tmp_path / "runs" / "tiny"
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["test_groups"] == {
        "common": ["helen/testset"],
        "challenging": ["ibug"],
    }
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "test", "--no-robustness"]) == 0
    out = capsys.readouterr().out
    scores = json.loads((run / "evaluation-test.json").read_text())["scores"]
    common, challenging = scores["groups"]["common"], scores["groups"]["challenging"]
    assert (common["images"], challenging["images"], scores["images"]) == (5, 2, 7)
    assert scores["nme"] == pytest.approx((5 * common["nme"] + 2 * challenging["nme"]) / 7)
    assert f"groups: common {100 * common['nme']:.2f} % (5 images), challenging {100 * challenging['nme']:.2f} %" in out
    assert main(["report", str(run)]) == 0
    assert "Groups of images" in (run / "report.html").read_text()
    # Validation is one folder: there is nothing to tell apart.
    main(["evaluate", str(run), "--json", "--no-robustness"])
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["groups"] == {}
