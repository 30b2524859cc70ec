"""The command line: quick, forgiving, and the same settings as in Python."""

import dataclasses
import json
import subprocess
import sys
import time

import pytest
import torch
import yaml

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError, KeypointConfig, from_dict, to_dict
from tiny import write_discs, write_recipe

HEAVY = ("torch", "numpy", "jsonargparse", "lightning", "torchvision", "timm", "matplotlib")


def refused(capsys, *arguments):
    """What the command line says where it refuses: one line, and a status that is not 0."""
    try:
        status = main(list(arguments))
    except SystemExit as stop:  # argparse's own way out
        status = stop.code
    captured = capsys.readouterr()
    assert status not in (0, None)
    assert captured.out == ""
    line = captured.err.strip()
    assert line.startswith("snellen: ")
    assert "\n" not in line
    return line


def imported(code, *modules):
    """Which of `modules` a fresh interpreter holds after running `code`."""
    code = f"{code}\nimport sys, json; print(json.dumps([m for m in {modules!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- quick


def test_help_answers_at_once():
    seconds = []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "snellen.cli", "--help"], capture_output=True, text=True, check=True
        )
        seconds.append(time.monotonic() - begin)
    assert "train RECIPE" in done.stdout
    # The best of three: the machine may be busy.
    assert min(seconds) < 1.0


def test_help_and_listing_recipes_import_nothing_heavy():
    ask = "from snellen.cli import main\ntry: main([{!r}])\nexcept SystemExit: pass"
    assert imported(ask.format("--help"), *HEAVY) == []
    assert imported(ask.format("recipes"), *HEAVY) == []


def test_imports_cost_no_more_than_they_must():
    assert imported("import snellen, snellen.api, snellen.config", *HEAVY) == []
    light = "from snellen.layers import recombine, contrast, LiftDown2d, auxiliary_losses"
    heavy = ("torchvision", "timm", "lightning", "jsonargparse", "matplotlib", "torch.onnx", "torch._dynamo", "onnx")
    assert imported(light, "torch", *heavy) == ["torch"]


def test_timm_is_imported_when_one_of_its_backbones_is_built():
    ask = "from snellen.models import create_model, list_models, model_choices\nlist_models(); model_choices('rcn')\n"
    ask += "create_model('rcn5', aggregate='fpn')\n"
    ask += "import sys; assert not {'timm', 'torchvision', 'lightning'} & set(sys.modules)\n"
    assert imported(ask + "create_model('rcn', backbone='timm:test_resnet')", "timm") == ["timm"]


# --- forgiving


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "nearest: train"),
        (["reciepes"], "nearest: recipes"),
        (["evaluate"], "required: run"),
        (["train"], "name a recipe"),
        (["train", "wings-rnc"], "nearest: wings-rcn"),
        (["train", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["train", "wings-rcn", "--train.stepps", "5"], "nearest: train.steps"),
        (["train", "wings-rcn", "--augmentt.flip", "1"], "nearest: augment.flip"),
        (["train", "wings-rcn", "--train.lr", "fast"], "train.lr"),
        (["train", "wings-rcn", "--train.steps", "-3"], "train.steps must be positive, not -3"),
        (["train", "wings-rcn", "--train.target", "soft"], "train.target is hard, split or gauss, not 'soft'"),
        (["train", "wings-rcn", "--train.optimiser=adam"], "nearest: adamw"),
        (["train", "wings-rcn", "--train.steps", "many"], "train.steps is a whole number, not 'many'"),
        (["train", "wings-rcn", "--data.canvas", "96"], "data.canvas is a list"),
        (["train", "--seed", "1", "wings-rcn"], "the recipe comes first"),
        (["evaluate", "runs/x", "--on-error", "maybe"], "invalid choice: 'maybe'"),
        (["train", "wings-rcn", "--out", "/dev/null/runs"], "cannot be made"),
        (["train", "wings-rcn", "--name", "../mine"], "is a path; give the run folder's plain name"),
        (["train", "wings-rcn", "--model.choices.branch_mask", "101"], "branch_mask='101' does not fit 5 branches"),
        (["train", "wings-rcn", "--model.name", "timm:resnet18"], "--model.choices.backbone timm:resnet18"),
        (["train", "--resume"], "one run folder"),
        (["train", "--resume", "/nowhere"], "/nowhere is not a run folder"),
        (["evaluate", "/nowhere"], "/nowhere is not a run folder"),
        (["report", "/nowhere"], "/nowhere is not a run folder"),
        (["models", "rnc5"], "nearest: rcn5"),
        (["recipes", "wigns-rcn"], "nearest: wings-rcn"),
    ],
)
def test_a_mistake_is_answered_in_one_line(capsys, arguments, says):
    assert says in refused(capsys, *arguments)


def test_without_a_verb_all_are_listed(capsys):
    assert main([]) == 2
    assert "train RECIPE" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(capsys, tmp_path):
    out = tmp_path / "runs"
    assert "torch sees none" in refused(
        capsys, "train", "wings-rcn", "--train.accelerator", "gpu", "--out", str(out), "--data.root", "null"
    )
    assert not out.exists()


def test_a_mask_keeps_its_leading_zeros(capsys):
    assert main(["train", "wings-rcn", "--model.choices.branch_mask", "00011", "--print_config"]) == 0
    assert "branch_mask: '00011'" in capsys.readouterr().out


def test_mistakes_in_data_and_model_are_answered_before_anything_is_written(capsys, tmp_path):
    recipe, out = str(write_recipe(write_discs(tmp_path / "data", 16), tmp_path / "runs")), tmp_path / "runs"
    assert "nearest: rcn5" in refused(capsys, "train", recipe, "--model.name", "rnc5")
    assert "/nowhere is not a folder" in refused(capsys, "train", recipe, "--data.root", "/nowhere")
    assert "needs data.root" in refused(capsys, "train", recipe, "--data.root", "null")
    assert "annotations.csvv does not exist" in refused(
        capsys, "train", recipe, "--data.annotations", "annotations.csvv"
    )
    assert not out.exists()


def test_mistakes_in_a_recipe_file_name_the_file(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    for text, says in (
        ("train: {stepps: 5}\n", "nearest: steps"),
        ("trian: {steps: 5}\n", "nearest: train"),
        ("train: 5\n", "train is a group of settings"),
        ("- 1\n", "holds no settings"),
        ("train: {steps: [\n", "not a YAML file"),
        ("train: {steps: -1}\n", "train.steps must be positive"),
    ):
        file.write_text(text)
        line = refused(capsys, "train", str(file))
        assert says in line
        assert str(file) in line


def test_python_refuses_the_same_with_the_same_words():
    with pytest.raises(ConfigError, match=r"no setting train\.stepps; nearest: steps"):
        api.resolve("wings-rcn", {"train.stepps": 3})
    with pytest.raises(ConfigError, match="nearest: wings-rcn"):
        api.resolve("wings-rnc")


# --- the same settings


@pytest.fixture(params=sorted(api.recipes()))
def recipe(request):
    return request.param


def test_every_recipe_parses_and_says_what_it_is(recipe):
    config = api.resolve(recipe)
    assert config.recipe == recipe
    # Experiments must not be equal by accident of a misplaced key.
    assert config != KeypointConfig(recipe=recipe)
    line = api.recipes()[recipe]
    assert len(line.split()) >= 4
    assert not line.startswith(("data:", "recipe:", "{"))


def test_every_recipe_builds_its_model(recipe):
    from snellen.training.jobs import make_model

    config = api.resolve(recipe)
    points = {"keypoints": 3}
    of_tasks = {"keypoints": points, "denoising": points, "super-resolution": {}, "gaze": {}}
    answers = of_tasks.get(config.task, {"classes": 3})
    model = make_model(config, load_pretrained=False, **answers)
    assert sum(p.numel() for p in model.parameters()) > 1000


def test_printed_settings_are_the_resolved_ones(recipe, capsys):
    assert main(["train", recipe, "--print_config", "--train.steps", "7", "--data.canvas", "[40, 48]"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    expected = api.resolve(recipe, {"train.steps": 7, "data.canvas": [40, 48]})
    assert expected.train.steps == 7
    printed.pop("config", None)
    # Models take choices such as branch_mask: "1111" as a number too, which is how YAML reads them back.
    given, wanted = ({k: str(v) for k, v in c["choices"].items()} for c in (printed["model"], to_dict(expected.model)))
    assert given == wanted
    printed["model"]["choices"] = expected.model.choices
    assert from_dict(printed) == expected
    # And they are a recipe themselves.
    assert from_dict(yaml.safe_load(yaml.safe_dump(to_dict(expected)))) == expected


@pytest.mark.parametrize("join", [False, True])
def test_one_option_of_a_choice_leaves_the_others_as_the_recipe_has_them(capsys, join):
    flags = {"--model.choices.zoom_options.size": "[64, 64]", "--model.choices.zoom_options.nodes": "[15, 15]"}
    given = [f"{k}={v}" for k, v in flags.items()] if join else [word for flag in flags.items() for word in flag]
    assert main(["train", "faces68-full-oracle", *given, "--model.choices.width", "0.5", "--print_config"]) == 0
    choices = yaml.safe_load(capsys.readouterr().out)["model"]["choices"]
    options = {"size": [64, 64], "separable": True, "max_zoom": 4, "nodes": [15, 15]}
    assert choices == {"norm": "batch", "width": 0.5, "zoom": "boxes", "zoom_options": options}


OPTIONS = "--model.choices.zoom_options"


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ([f"{OPTIONS}.nodes", "[9, 9]", OPTIONS, "{size: [64, 64]}"], {"size": [64, 64]}),
        ([OPTIONS, "{size: [64, 64]}", f"{OPTIONS}.max_zoom=2e0"], {"size": [64, 64], "max_zoom": 2.0}),
        (
            [f"{OPTIONS}.max_zoom", "2", "--model.choices.width", "1"],
            {"size": [96, 96], "separable": True, "max_zoom": 2},
        ),
    ],
)
def test_later_flags_of_options_go_before_earlier_ones(capsys, flags, options):
    assert main(["train", "faces68-full-oracle", *flags, "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["choices"]["zoom_options"] == options


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([f"{OPTIONS}.size", "--seed=3"], f"{OPTIONS}.size needs a value"),
        ([f"{OPTIONS}.size"], f"{OPTIONS}.size needs a value"),
        ([f"{OPTIONS}.size", "["], "'[' is no value"),
        (["--model.choices.norm.size", "3"], "model.choices.norm is 'batch', which has no size"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(capsys, flags, says):
    assert main(["train", "faces68-full-oracle", *flags]) == 1
    assert says in capsys.readouterr().err


def test_printed_settings_hold_every_setting(capsys):
    main(["train", "wings-rcn", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    for field in dataclasses.fields(KeypointConfig):
        assert field.name in printed
        if dataclasses.is_dataclass(field.type):
            assert set(printed[field.name]) == {sub.name for sub in dataclasses.fields(field.type)}


def test_printing_settings_prints_nothing_else():
    done = subprocess.run(
        [sys.executable, "-m", "snellen.cli", "train", "wings-rcn", "--print_config"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_command_line_and_python_train_by_the_same_configuration(tmp_path, capsys, monkeypatch):
    seen = []
    for place in ("snellen.api", "snellen.api.training"):
        monkeypatch.setattr(f"{place}.train_config", lambda config, command="": seen.append(config) or tmp_path)
    recipe = str(write_recipe(write_discs(tmp_path / "data", 16), tmp_path / "runs"))
    main(["train", recipe, "--seed", "5", "--train.lr", "0.25", "--augment.scale", "[0.9, 1.1]", "--data.workers=1"])
    api.train(recipe, seed=5, **{"train.lr": 0.25, "augment.scale": (0.9, 1.1), "data.workers": 1})
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert (seen[0].seed, seen[0].train.lr, seen[0].augment.scale, seen[0].data.workers) == (5, 0.25, (0.9, 1.1), 1)


def test_listings(capsys):
    assert main(["models"]) == 0
    assert "rcn5" in capsys.readouterr().out.split()
    assert main(["models", "sumnet*"]) == 0
    found = capsys.readouterr().out.strip().splitlines()
    assert [line.split() for line in found] == [["sumnet5", "keypoints"], ["sumnet68", "keypoints"]]
    assert main(["recipes", "wings-*"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines
    assert all(line.startswith("wings-") for line in lines)


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("snellen 0.")


def test_help_of_train_lists_settings_with_their_meaning(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--train.batch_size" in out
    assert "images an update, over all devices" in out  # the dataclass's own words


def test_a_small_run_from_end_to_end(tmp_path, capsys):
    recipe = str(write_recipe(write_discs(tmp_path / "data", 16), tmp_path / "runs", steps=4, validate_every=2))
    assert main(["train", recipe, "--name", "tiny", "--seed", "1"]) == 0
    run = tmp_path / "runs" / "tiny"
    out = capsys.readouterr().out
    assert out.startswith(str(run))
    assert f"snellen evaluate {run}" in out
    stored = from_dict(yaml.safe_load((run / "config.yaml").read_text()))
    assert stored == api.resolve(recipe, {"name": "tiny", "seed": 1})
    info = json.loads((run / "run.json").read_text())
    assert info["steps"] == 4
    assert "--name tiny --seed 1" in info["command"]
    # The folder is a model: load it, and find points in a picture.
    found = api.load(run).predict(tmp_path / "data" / "disc 00.png")[0]
    assert found.xy.shape == (2, 2)
    assert found.schema.points == ("bright", "dark")
    assert (found.score >= 0).all()
    # It is not overwritten.
    before = (run / "model.safetensors").read_bytes()
    assert "holds a run that is finished" in refused(capsys, "train", recipe, "--name", "tiny")
    assert (run / "model.safetensors").read_bytes() == before
    # And it is scored, by the data it names.
    assert main(["evaluate", str(run), "--json", "--no-robustness"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["split"] == "val"
    assert scores["interval"][0] <= scores["nme"] <= scores["interval"][1]
    assert "nearest: val" in refused(capsys, "evaluate", str(run), "--split", "vall")
