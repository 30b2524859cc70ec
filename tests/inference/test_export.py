"""Exported files, shared folders and shipped weights."""

import dataclasses
import errno
import json
import logging
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from snellen import api, create_model
from snellen.cli import main
from snellen.config import ConfigError, from_dict
from snellen.data.wings import Wings
from snellen.inference import Classifier, Localiser, load
from snellen.inference import export as exporting
from snellen.inference.exported import CARD_KEY
from snellen.inference.sharing import from_pretrained, model_card, push_to_hub, save_pretrained
from snellen.keypoints.codecs import Decoded
from snellen.models.choices import UnknownChoiceError, UnknownModelError
from snellen.models.shipped import shipped, shipped_names
from snellen.training.fit import fit
from tiny import class_recipe, recipe, write_classes, write_discs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Trained with the mirror image in its answers and two points that swap: the graph must do both."""
    root = tmp_path_factory.mktemp("discs")
    settings = recipe(write_discs(root / "data"), root / "runs", steps=2, validate_every=2)
    settings["data"] |= {"swaps": [["bright", "dark"]], "terms": "for tests only"}
    settings["evaluate"] = {"flip": True}
    return fit(from_dict(settings)).path


@pytest.fixture(scope="module")
def exported(run):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    return {format: api.export(run, format=format) for format in ("onnx", "pt2")}


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_an_exported_file_answers_as_the_run_without_it(run, exported, tmp_path, format, caplog):
    made = exported[format]
    assert made.path == run / f"model.{format}"
    assert made.difference < 0.05
    assert made.points == 2 * made.samples > 0
    moved = tmp_path / f"away.{format}"
    shutil.copyfile(made.path, moved)
    with caplog.at_level(logging.WARNING):
        alone, whole = load(moved), load(run, "cpu")
    assert f"{moved}: for tests only" in caplog.text
    assert alone.schema == whole.schema
    assert (alone.canvas, alone.channels, alone.flip, alone.radius) == (whole.canvas, 1, True, whole.radius)
    # Any batch size, and pictures of any size.
    pictures = [np.random.default_rng(i).integers(0, 256, (40 + i, 60, 3)).astype(np.uint8) for i in range(7)]
    for size in (1, 7):
        for a, b in zip(alone.predict(pictures, batch_size=size), whole.predict(pictures), strict=True):
            np.testing.assert_allclose(a.xy, b.xy, atol=0.05)
            np.testing.assert_allclose(a.score, b.score, atol=1e-3)
    content = moved.read_bytes()
    assert str(run.parents[1]).encode() not in content  # no traces of where it was made
    assert b"site-packages" not in content


def test_metadata_stand_where_other_tools_look(exported):
    import onnxruntime

    found = onnxruntime.InferenceSession(str(exported["onnx"].path)).get_modelmeta().custom_metadata_map
    assert (found["points"], found["terms"], found["channels"]) == ("bright, dark", "for tests only", "1")
    assert json.loads(found[CARD_KEY])["schema"]["swaps"] == [["bright", "dark"]]


def test_a_file_that_differs_is_not_written(run, tmp_path, monkeypatch):
    model = load(run, "cpu")
    samples = 255 * torch.rand(3, 1, *model.canvas, generator=torch.Generator().manual_seed(0))

    class Off:
        def locate(self, canvases):
            found = model.locate(canvases)
            return Decoded(found.xy + 0.1, found.confidence)

    # What the exporters write is not at stake here, and takes them long.
    monkeypatch.setattr(exporting, "_write", lambda graph, example, path, *_: path.write_bytes(b"written"))
    monkeypatch.setattr(exporting, "load_exported", lambda path: Off())
    with pytest.raises(ConfigError, match=r"differs from PyTorch by 0\.141 px.*nothing was written"):
        exporting.export_model(model, tmp_path / "m.pt2", format="pt2", samples=samples)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("points", "by", "written"), [(1, 0.2, True), (2, 0.2, False), (1, np.nan, False)])
def test_one_point_in_a_thousand_may_differ(run, tmp_path, monkeypatch, points, by, written):
    """A tie of two places of a map is not the file's fault; an answer that is no number is."""
    model = load(run, "cpu")
    samples = 255 * torch.rand(500, 1, *model.canvas, generator=torch.Generator().manual_seed(0))
    found = model.locate(samples)
    moved = found.xy.clone()
    moved.view(-1, 2)[:points] += by
    monkeypatch.setattr(exporting, "_write", lambda graph, example, path, *_: path.write_bytes(b"written"))
    monkeypatch.setattr(exporting, "load_exported", lambda path: None)
    monkeypatch.setattr(exporting, "_in_batches", lambda file, canvases: (moved, found.confidence))
    if written:
        made = exporting.export_model(model, tmp_path / "m.pt2", format="pt2", samples=samples)
        assert made.difference == pytest.approx(0.2 * 2**0.5, rel=1e-3)
        return
    with pytest.raises(ConfigError, match=f"PyTorch by {np.hypot(by, by):.3f} px.*nothing was written"):
        exporting.export_model(model, tmp_path / "m.pt2", format="pt2", samples=samples)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_file_and_names_it(run, tmp_path, monkeypatch, capsys):
    def half(graph, example, path, *_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_write", half)
    assert main(["export", str(run), "--out", str(tmp_path / "m.onnx")]) == 1
    assert f"{tmp_path / 'm.onnx'}: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    for arguments, says in (
        ({"format": "tflite"}, "no export format 'tflite'"),
        ({"out": tmp_path / "m.pt2"}, "should end in .onnx"),
        ({"data": str(tmp_path / "nowhere")}, "is not a folder"),
        ({"opset": 11, "out": tmp_path / "old.onnx"}, "--opset 11 is not possible; graphs need 18 or later"),
        ({"opset": 999, "out": tmp_path / "new.onnx"}, "--opset 999 is not possible with torch"),
    ):
        with pytest.raises(ValueError, match=says):
            api.export(run, **arguments)
    assert not list(tmp_path.glob("*.onnx"))
    assert api.export(run, tmp_path / "m.pt2", format="pt2", opset=11).path.exists()  # which has none
    classes = write_classes(tmp_path / "classes")
    classifier = fit(from_dict(class_recipe(classes, tmp_path / "runs", steps=2, validate_every=2))).path
    with pytest.raises(ConfigError, match="finds no keypoints, it is a model for classification"):
        api.export(classifier)


def test_predicting_with_another_flip_than_the_files_is_refused(exported, tmp_path):
    with pytest.raises(ConfigError, match=r"averages with the mirror image.*export it again with --no-flip"):
        api.predict(exported["pt2"].path, ["x.png"], tmp_path / "out.csv", flip=False)


# --- files that are no models


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
@pytest.mark.parametrize("content", [b"", b"no model at all", b"PK\x03\x04 broken", pickle.dumps({"a": 1})])
def test_a_model_file_that_is_none_is_one_sentence(tmp_path, name, content, capsys):
    file = tmp_path / name
    file.write_bytes(content)
    assert main(["predict", str(file), "x.png", "--out", str(tmp_path / "out.csv")]) == 1
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert f"{file} is not a" in line
    assert not list(tmp_path.glob("out*"))


def test_other_peoples_onnx_files_and_missing_ones_are_told_apart(tmp_path):
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(n, 1, [1]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match="without snellen's metadata"):
        load(tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "missing.onnx")


def test_an_exported_file_says_how_it_is_handed_on(exported, tmp_path):
    model = load(exported["pt2"].path)
    with pytest.raises(ConfigError, match=r"one file that holds everything; copy it"):
        model.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("card", ["{}", "[1]", "null", '"x"', '{"schema": 3, "canvas": [1], "channels": "3"}'])
def test_metadata_that_are_no_card_are_one_sentence(exported, tmp_path, card, capsys):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported["onnx"].path)
    next(item for item in model.metadata_props if item.key == "snellen.json").value = card
    onnx.save(model, tmp_path / "m.onnx")
    with zipfile.ZipFile(exported["pt2"].path) as old, zipfile.ZipFile(tmp_path / "m.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, card if name.endswith("snellen.json") else old.read(name))
    for file in (tmp_path / "m.onnx", tmp_path / "m.pt2"):
        assert main(["predict", str(file), "x.png", "--out", str(tmp_path / "out.csv")]) == 1
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"{file} holds metadata that snellen cannot use" in line
        assert "export the run again" in line


def test_a_pickle_inside_or_in_place_of_weights_is_never_read(run, exported, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for write in (lambda f: f.write_bytes(pickle.dumps(Bomb())), lambda f: torch.save({"x": Bomb()}, f)):
        write(copy / "model.safetensors")
        with pytest.raises(ConfigError, match=r"is a pickle with another name.*never read"):
            load(copy)
    (copy / "model.safetensors").write_bytes(b"\x05garbage that is none")
    with pytest.raises(ConfigError, match="is not a safetensors file"):
        load(copy)

    import zipfile

    bad = tmp_path / "bad.pt2"
    with zipfile.ZipFile(exported["pt2"].path) as old, zipfile.ZipFile(bad, "w") as new:
        for item in old.namelist():
            data = old.read(item)
            if item.endswith("weights_config.json"):
                data = data.replace(b'"use_pickle": false', b'"use_pickle": true').replace(
                    b'"use_pickle":false', b'"use_pickle":true'
                )
                assert data != old.read(item)
            new.writestr(item, data)
    with pytest.raises(ConfigError, match="pickled objects, which are never read"):
        load(bad)
    assert not (tmp_path / "exploded").exists()


# --- shared folders


def test_saved_folders_load_to_the_same_answers(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file; give the name of a folder"):
        load(run).save_pretrained(tmp_path / "file")
    model = load(run, "cpu")
    folder = model.save_pretrained(tmp_path / "mine")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "model.json", "model.safetensors"]
    again = from_pretrained(folder, device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (50, 50)).astype(np.uint8)
    np.testing.assert_array_equal(again.predict(picture)[0].xy, model.predict(picture)[0].xy)
    assert {k: v for k, v in again.card.items() if k in model.card and k != "model"} == {
        k: v for k, v in model.card.items() if k != "model"
    }
    card = (folder / "README.md").read_text()
    for part in ("license: other", "bright, dark", "For tests only", "32 x 32"):
        assert part in card


def test_the_hub_is_only_asked_where_it_must_be(run, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    served = save_pretrained(load(run, "cpu"), tmp_path / "served")
    asked = []

    def download(name, *, revision, allow_patterns, **other):
        asked.append((name, revision, sorted(allow_patterns), other))
        return str(served)

    monkeypatch.setattr(hub, "snapshot_download", download)
    from_pretrained(served)
    from_pretrained("wings-rcn")
    assert isinstance(Localiser.from_pretrained(served), Localiser)
    with pytest.raises(ConfigError, match="is a Localiser, not a Classifier"):
        Classifier.from_pretrained(served)
    assert asked == []
    assert isinstance(from_pretrained("somebody/discs", revision="v1", local_files_only=True), Localiser)
    assert asked == [
        ("somebody/discs", "v1", ["README.md", "model.json", "model.safetensors"], {"local_files_only": True})
    ]

    def offline(*_, **__):
        raise hub.errors.LocalEntryNotFoundError("offline mode is enabled")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(ConfigError, match=r"somebody/discs is no folder here.*offline mode"):
        from_pretrained("somebody/discs")


def test_pushing_sends_the_saved_folder(run, monkeypatch):
    hub, sent = pytest.importorskip("huggingface_hub"), {}

    class Api:
        def __init__(self, **_):
            pass

        def create_repo(self, name, *, private, exist_ok):
            sent.update(name=name, private=private)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            sent["weights"] = load_file(folder_path / "model.safetensors")
            return f"https://hub/{repo_id}"

    monkeypatch.setattr(hub, "HfApi", Api)
    model = load(run, "cpu")
    assert (
        model.push_to_hub("me/discs", private=True)
        == push_to_hub(model, "me/discs", private=True)
        == "https://hub/me/discs"
    )
    assert (sent["name"], sent["private"]) == ("me/discs", True)
    for name, value in model.model.state_dict().items():
        assert torch.equal(sent["weights"][name], value), name


def test_a_card_names_licence_and_terms_apart():
    card = {"canvas": [8, 8], "channels": 3, "model": {"name": "rcn5"}, "licence": "Apache-2.0"}
    assert "license: apache-2.0" in model_card(card, "x")
    assert "license: other" in model_card(card | {"terms": "ask first"}, "x")


# --- shipped weights


def test_the_wheels_weights_find_wings():
    """A tenth of the width of a wing would be 20 px; guessing the mean shape errs by at least 8 (data/wings.py)."""
    assert "wings-rcn" in shipped_names()
    wings, model = Wings(8, seed=12345), load("wings-rcn", "cpu")
    found = model.predict([wings[i].image for i in range(8)])
    errors = [np.linalg.norm(f.xy - wings[i].keypoints.xy, axis=1) for i, f in enumerate(found)]
    assert np.nanmedian(errors) < 2


def test_every_shipped_folder_is_small_and_says_its_terms():
    for name in shipped_names():
        known = shipped(name)
        assert (known.folder / "model.safetensors").stat().st_size <= 5_000_000
        card = (known.folder / "README.md").read_text()
        assert known.licence in card
        assert known.terms.lower() in card.lower()
        # Weights with terms never go into the wheel.
        assert bool(known.terms) != (known.folder.parent.name == "weights")


def test_networks_take_shipped_weights_as_timms_do(caplog):
    weights = load_file(shipped("wings-rcn").folder / "model.safetensors")
    full = create_model("wings-rcn", pretrained=True)
    assert all(torch.equal(full.state_dict()[k], v) for k, v in weights.items())
    torch.manual_seed(0)
    fresh = create_model("wings-rcn")
    assert not torch.equal(fresh.state_dict()["branch.0.1.0.weight"], weights["branch.0.1.0.weight"])
    with caplog.at_level(logging.WARNING):
        other = create_model("rcn5", pretrained="wings-rcn", keypoints=7)
    assert "fresh weights in branch.0.1.0.bias, branch.0.1.0.weight" in caplog.text
    assert other.keypoints == 7
    same = [k for k, v in weights.items() if torch.equal(other.state_dict()[k], v)]
    assert len(same) == len(weights) - 2
    with pytest.raises(UnknownChoiceError, match="are of model 'rcn5'"):
        create_model("rcn68", pretrained="wings-rcn")
    with pytest.raises(UnknownChoiceError, match="do not fit these choices"):
        create_model("wings-rcn", pretrained=True, width=2.0)
    with pytest.raises(UnknownModelError, match="nearest"):
        shipped("wings-rnc")


def test_the_list_of_weights(capsys):
    assert main(["models", "wings*", "--pretrained"]) == 0
    said = "wings-rcn 12 points (wings-12), rcn5, canvas 72x96, Apache-2.0"
    assert capsys.readouterr().out.split() == said.split()


# --- supervision


def test_points_become_supervisions(run):
    supervision = pytest.importorskip("supervision")
    found = load("wings-rcn", "cpu").predict(Wings(1, seed=3)[0].image, min_confidence=0.5)[0]
    found = dataclasses.replace(found, visibility=np.where(np.arange(12) == 4, 0, found.visibility))
    points = found.to_supervision()
    assert isinstance(points, supervision.KeyPoints)
    np.testing.assert_array_equal(points.xy[0, 4], [0, 0])
    np.testing.assert_allclose(points.xy[0][found.labelled], found.xy[found.labelled], rtol=1e-6)
    np.testing.assert_allclose(points.keypoint_confidence[0], found.score, rtol=1e-6)
