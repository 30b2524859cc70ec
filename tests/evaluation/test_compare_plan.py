"""What a comparison trains: rows, names, folders, and the images that all of them share."""

import shlex

import pytest
import torch
import yaml

from snellen.cli.training import parse_train
from snellen.config import ConfigError, to_dict
from snellen.data import StepBatches, training_loader
from snellen.evaluation.compare.plan import Plan, Row, grid, read_rows, row_of, setting_name
from snellen.evaluation.compare.settings import differing_settings
from snellen.training.jobs import prepare
from tiny import write_discs, write_recipe


@pytest.fixture
def discs(tmp_path):
    return str(write_recipe(write_discs(tmp_path / "data"), tmp_path / "elsewhere"))


def plan(recipe, tmp_path, rows, **options):
    return Plan(recipe=recipe, rows=tuple(rows), seeds=options.pop("seeds", (0,)), out=tmp_path / "out", **options)


def test_every_combination_is_a_row_the_first_values_first():
    rows = grid({"pool": ["max", "lift"], "train.ema": [0, 0.9]})
    assert [dict(row.settings) for row in rows] == [
        {"model.choices.pool": "max", "train.ema": 0},
        {"model.choices.pool": "max", "train.ema": 0.9},
        {"model.choices.pool": "lift", "train.ema": 0},
        {"model.choices.pool": "lift", "train.ema": 0.9},
    ]
    assert len({row.folder for row in rows}) == 4


def test_rows_of_a_file_may_nest_group_and_name_a_recipe(tmp_path):
    file = tmp_path / "rows.yaml"
    rows = {
        "plain": None,
        "big": {"recipe": "wings-rcn", "model": {"name": "rcn68", "choices": {"width": 2}}, "train.lr": 1},
    }
    file.write_text(yaml.safe_dump(rows, sort_keys=False))
    plain, big = read_rows(file)
    assert (plain.name, dict(plain.settings), plain.recipe) == ("plain", {}, "")
    assert big.recipe == "wings-rcn"
    assert dict(big.settings) == {"model.name": "rcn68", "model.choices.width": 2, "train.lr": 1}


@pytest.mark.parametrize(
    ("content", "says"), [("[1, 2]", "holds no rows"), ("max: pool", "not settings"), ("a: [", "is not a YAML file")]
)
def test_files_that_hold_no_rows_are_refused(tmp_path, content, says):
    file = tmp_path / "rows.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=says):
        read_rows(file)
    with pytest.raises(ConfigError, match="does not exist"):
        read_rows(tmp_path / "none.yaml")


def test_names_become_folders_that_every_system_can_hold():
    assert row_of("timm:resnet/18 {a: 1}", {}).folder == "timm-resnet-18-a-1"
    assert Row("..", {}).folder == "row"
    assert Row("max", {}, runs="cifar100-pool-max-cpu").folder == "cifar100-pool-max-cpu"


@pytest.mark.parametrize("key", ["seed", "out", "name", "recipe"])
def test_what_the_comparison_decides_itself_cannot_be_varied(key):
    with pytest.raises(ConfigError, match=f"{key} cannot be set"):
        setting_name(key)


def test_a_run_has_the_settings_of_all_rows_then_its_own(discs, tmp_path):
    two = plan(
        discs, tmp_path, grid({"train.lr": [0.1, 0.2]}), settings={"train.lr": 0.5, "train.steps": 7}, seeds=(0, 4)
    )
    config = two.config(two.rows[1], 4)
    assert (config.train.lr, config.train.steps, config.seed) == (0.2, 7, 4)
    assert f"{config.out}/{config.run_name}" == str(tmp_path / "out" / "runs" / "lr=0.2-seed4")


def test_the_command_of_a_row_trains_the_same(discs, tmp_path):
    rows = [row_of("plain", {}), row_of("wide", {"width": 0.75, "data": {"canvas": [48, 32]}})]
    two = plan(discs, tmp_path, rows, settings={"train.steps": 7})
    words = shlex.split(two.command(two.rows[1], 3))
    assert words[:2] == ["snellen", "train"]
    assert differing_settings(parse_train(words[2:])[0], two.config(two.rows[1], 3)) == []


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([Row("one")], {}, "at least two rows"),
        ([Row("a b"), Row("a/b")], {}, "kept in folders 'a-b'"),
        ([Row("a"), Row("a")], {}, "named 'a'"),
        (grid({"train.ema": [0, 0.5]}), {"seeds": (1, 1)}, "different numbers"),
        (grid({"trian.ema": [0, 0.5]}), {}, "there is no setting trian.ema"),
        (grid({"train.emma": [0, 0.5]}), {}, "no setting train.emma"),
        (grid({"pol": ["max", "avg"]}), {}, "no row is possible"),
        (grid({"train.ema": [0, 0.5]}), {"settings": {"train.minutes": 3}}, "equal steps"),
    ],
)
def test_plans_that_make_no_sense_are_refused(discs, tmp_path, rows, options, says):
    with pytest.raises(ConfigError, match=says):
        plan(discs, tmp_path, rows, **options)


def test_settings_differ_by_value_and_not_by_how_they_are_written(discs, tmp_path):
    two = plan(discs, tmp_path, grid({"norm": ["batch", "none"]}))
    one, other = (two.config(row, 0) for row in two.rows)
    assert differing_settings(one, other) == ["model.choices.norm"]
    assert differing_settings(one, two.config(two.rows[0], 1)) == ["seed"]
    # A preset's own choice, written out, changes nothing.
    spelled = plan(discs, tmp_path, grid({"pool": ["max", "avg"]}), settings={"model.choices.norm": "batch"})
    assert differing_settings(one, spelled.config(spelled.rows[0], 0)) == []
    assert to_dict(one) != to_dict(spelled.config(spelled.rows[0], 0))
    # Runs of earlier versions have the usual annotation file written out.
    older = plan(discs, tmp_path, two.rows, settings={"data.annotations": "annotations.csv"})
    assert differing_settings(one, older.config(older.rows[0], 0)) == []
    others = plan(discs, tmp_path, two.rows, settings={"data.annotations": "others.csv"})
    assert differing_settings(one, others.config(others.rows[0], 0)) == ["data.annotations"]


def test_rows_see_the_same_images_in_the_same_order_with_the_same_changes(discs, tmp_path):
    two = plan(discs, tmp_path, [row_of("rcn", {}), row_of("sum", {"model.name": "sumnet5", "pool": "avg"})])
    seen = []
    for row in two.rows:
        job = prepare(two.config(row, 5))
        torch.manual_seed(len(seen))  # whatever else draws numbers
        batches = StepBatches(len(job.train_set), 8, 4, seed=5)
        seen.append([(batch.index, batch.image) for batch in training_loader(job.train_set, batches)])
    for (index, image), (other_index, other_image) in zip(*seen, strict=True):
        assert torch.equal(index, other_index)
        assert torch.equal(image, other_image)
