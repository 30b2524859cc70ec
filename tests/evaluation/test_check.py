"""`snellen check` finds what was planted, nothing else, and proposes a recipe that trains."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from snellen import api
from snellen.cli import main
from snellen.config import from_dict
from snellen.data import build_dataset
from snellen.evaluation.check import check_data, swap_pairs
from snellen.evaluation.check.swaps import mean_shape, suspect_swaps
from snellen.geometry import rotation, scaling, transform_points
from snellen.images import PictureReader
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.formats import (
    AnnotationError,
    LabelledImage,
    LabelledObject,
    PointLabels,
    read_points,
    write_points,
)

FACE = Schema("face", ("left_eye", "right_eye", "nose", "chin"))
SHAPE = np.array([[20.0, 15], [44, 15], [32, 30], [32, 44]])
HEIGHT, WIDTH = 80, 64


def faces(root, count=24, seed=0, **change):
    """Pictures of a smooth shade with a small bright mark at each point, in the upper half."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = []
    for i in range(count):
        xy = SHAPE * rng.uniform(0.8, 1) + rng.uniform(-2, 2, 2) + rng.normal(0, 0.5, SHAPE.shape)
        picture = Image.fromarray(np.full((HEIGHT, WIDTH), 100 + i, np.uint8))
        for x, y in xy:
            ImageDraw.Draw(picture).ellipse((x - 2, y - 2, x + 2, y + 2), fill=255)
        picture.save(root / f"fäce {i:02d}.png")
        images.append(LabelledImage(f"fäce {i:02d}.png", (LabelledObject(Keypoints.visible(xy, FACE)),)))
    return PointLabels(FACE, tuple(images), root, root / "labels.csv")


def moved(labels, at, change):
    """The labels with the points of one image changed."""
    images = list(labels.images)
    item = images[at].objects[0]
    new = replace(item, keypoints=Keypoints.visible(change(item.keypoints.xy.copy()), FACE))
    images[at] = replace(images[at], objects=(new,))
    return replace(labels, images=tuple(images))


def kinds(labels, **options):
    return {f.kind: f for f in check_data(labels, "csv", workers=1, **options).findings}


def test_sound_data_have_no_findings(tmp_path):
    report = check_data(faces(tmp_path), "csv", workers=1)
    assert report.findings == ()
    assert not report.must_fix
    assert report.sizes == {"64 x 80": 24}
    assert report.labelled == dict.fromkeys(FACE.points, 1.0)
    assert report.swaps == (("left_eye", "right_eye"),)
    assert "ready to train" in report.in_words()


def test_processes_find_the_same(tmp_path):
    labels = faces(tmp_path, 6)
    assert check_data(labels, "csv", workers=2) == check_data(labels, "csv", workers=1)


def test_planted_faults_are_found(tmp_path):
    labels = faces(tmp_path)
    names = [image.file for image in labels.images]
    (tmp_path / names[0]).write_bytes((tmp_path / names[0]).read_bytes()[:60])  # cut off
    (tmp_path / names[1]).unlink()
    Image.open(tmp_path / names[2]).save(tmp_path / names[3])  # a copy
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / names[4]).save(tmp_path / names[4], exif=exif)
    labels = moved(labels, 5, lambda xy: xy[[1, 0, 2, 3]])
    labels = moved(labels, 6, lambda xy: xy + np.array([100, 0]))
    found = kinds(labels)
    assert set(found) == {"unreadable", "duplicate", "exif", "swap", "outside", "background"}
    assert found["unreadable"].files == (names[0], names[1])
    assert found["duplicate"].files == (names[2], names[3])
    assert found["exif"].files == (names[4],)
    assert found["background"].files == (names[4],)  # whose marks are at the other end now
    assert found["swap"].files == (names[5],)
    assert found["outside"].files == (names[6],)
    assert (found["unreadable"].severity, found["swap"].severity) == ("error", "warning")


def test_pictures_that_were_saved_again_or_halved_are_copies(tmp_path):
    labels = faces(tmp_path)
    names = [image.file for image in labels.images]
    rng = np.random.default_rng(5)
    for name in names[:5]:  # each of its own
        shades = Image.fromarray(rng.integers(60, 200, (10, 8), np.uint8))
        shades.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(tmp_path / name)
    first, second, third = (Image.open(tmp_path / name).convert("RGB") for name in names[:3])
    first.save(tmp_path / names[3], "JPEG", quality=60)
    third.resize((WIDTH // 2, HEIGHT // 2)).resize((WIDTH, HEIGHT)).save(tmp_path / names[4])
    found = kinds(labels)["duplicate"]
    assert (found.severity, found.files) == ("warning", (names[0], names[3], names[2], names[4]))
    assert "2 pictures are there more than once, but for compression or size" in found.sentence
    other = faces(tmp_path / "test", 1, seed=1)
    second.save(tmp_path / "test" / names[0], "JPEG", quality=90)
    leak = kinds(labels, test=other)["leak"]
    assert (leak.severity, leak.files) == ("warning", (names[1], f"{names[0]} (test)"))


def test_an_axis_upside_down_is_said(tmp_path):
    labels = faces(tmp_path)
    for i in range(len(labels.images)):
        labels = moved(labels, i, lambda xy: xy * [1, -1] + [0, HEIGHT])
    found = kinds(labels)
    assert found["upside-down"].severity == "error"
    assert "upside down" in found["upside-down"].sentence


def test_another_unit_is_said(tmp_path):
    labels = faces(tmp_path)
    shares = millimetres = labels
    for i in range(len(labels.images)):
        shares = moved(shares, i, lambda xy: xy / [WIDTH, HEIGHT])
        millimetres = moved(millimetres, i, lambda xy: xy * 25.4)
    assert "give pixels" in kinds(shares)["unit"].sentence
    assert "another unit" in kinds(millimetres)["outside"].sentence
    assert kinds(millimetres)["outside"].severity == "error"


@pytest.mark.parametrize(
    ("bits", "severity", "hint"),
    [(12, "error", "--grey-range 0 4095"), (14, "warning", "--grey-range 0 16383"), (16, "", "")],
)
def test_deep_grey_that_fills_little_of_its_range_is_said(tmp_path, bits, severity, hint):
    labels = faces(tmp_path)
    for image in labels.images:
        grey = np.asarray(Image.open(tmp_path / image.file).convert("L"), dtype=np.float64)
        Image.fromarray(np.rint(grey / 255 * (2**bits - 1)).astype(np.uint16)).save(tmp_path / image.file)
    found = kinds(labels)
    assert set(found) == ({"grey-range"} if severity else set())
    if severity:
        assert found["grey-range"].severity == severity
        assert hint in found["grey-range"].sentence
    # By the stated range nothing is amiss.
    assert kinds(labels, reader=PictureReader(grey_range=(0, 2**bits - 1))) == {}


def test_copied_points_a_point_that_is_nowhere_and_sizes_that_differ(tmp_path):
    labels = faces(tmp_path)
    first = labels.objects[0][1].keypoints.xy
    labels = moved(labels, 7, lambda _: first)
    for i in range(len(labels.images)):
        labels = moved(labels, i, lambda xy: np.where(np.arange(4)[:, None] == 3, np.nan, xy))
    labels = replace(labels, images=(replace(labels.images[0], size=(HEIGHT, 2 * WIDTH)), *labels.images[1:]))
    found = kinds(labels)
    assert found["copied"].files == (labels.images[7].file,)
    assert "no object has chin" in found["never"].sentence
    assert "64 x 80 instead of 128 x 80" in found["size"].sentence


def test_a_picture_of_the_test_in_the_training_is_a_leak(tmp_path):
    labels, other = faces(tmp_path / "train"), faces(tmp_path / "test", 2, seed=1)
    assert "leak" not in kinds(faces(tmp_path / "train"), test=faces(tmp_path / "test", 2, seed=1))
    other_file = tmp_path / "test" / other.images[0].file
    other_file.write_bytes((tmp_path / "train" / labels.images[9].file).read_bytes())
    found = kinds(labels, test=other)["leak"]
    assert found.severity == "error"
    assert found.files == (labels.images[9].file, f"{other.images[0].file} (test)")
    marked = replace(labels, images=tuple(replace(i, group="one", split=s) for i, s in
                                          zip(labels.images[:2], ("train", "test"), strict=True)))  # fmt: skip
    assert "groups are in several splits: one" in kinds(marked)["leak"].sentence


def test_a_ranking_of_suspects_is_asked(tmp_path):
    labels = faces(tmp_path)

    def rank(objects, sizes):
        assert [image.file for image, _ in objects] == [image.file for image in labels.images] == list(sizes)
        return [(3, "nose 9 px")]

    assert kinds(labels, rank=rank)["denoiser"].files == (labels.images[3].file,)


# --- left and right


@pytest.mark.parametrize(
    ("points", "pairs"),
    [
        (["nose", "left_eye", "right_eye"], [("left_eye", "right_eye")]),
        (["L1", "R1", "L2", "R2"], [("L1", "R1"), ("L2", "R2")]),
        (["eyeLeft", "eyeRight"], [("eyeLeft", "eyeRight")]),
        (["Left Ear Tip", "Right Ear Tip"], [("Left Ear Tip", "Right Ear Tip")]),
        (["leftover", "rightover"], []),
        (["left_eye", "right_ear"], []),
        (["p1", "p2"], []),
    ],
)
def test_pairs_are_read_off_names(points, pairs):
    assert swap_pairs(points) == tuple(pairs)


def test_pairs_of_built_in_schemas_are_those_of_their_names():
    from snellen.keypoints import get_schema

    schema = get_schema("mtfl-5")
    assert swap_pairs(schema.points) == schema.swaps


def shapes(count=30, seed=0):
    rng = np.random.default_rng(seed)
    moves = [rotation(rng.uniform(-60, 60)) @ scaling(rng.uniform(0.5, 2)) for _ in range(count)]
    return np.stack([transform_points(m, SHAPE + rng.normal(0, 0.5, SHAPE.shape)) for m in moves])


def test_exchanged_pairs_are_found_at_any_pose_and_size():
    pairs = replace(FACE, swaps=(("left_eye", "right_eye"),))
    xy = shapes()
    assert suspect_swaps(xy, pairs) == []
    xy[[4, 11]] = xy[[4, 11]][:, [1, 0, 2, 3]]
    xy[6, 3] = np.nan
    assert sorted(i for i, _, _ in suspect_swaps(xy, pairs)) == [4, 11]


def test_the_mean_shape_is_the_shape():
    xy = shapes(60)
    mean = mean_shape(xy)
    centred = SHAPE - SHAPE.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    distance = np.linalg.norm(mean[:, None] - mean[None], axis=-1)
    np.testing.assert_allclose(distance, np.linalg.norm(centred[:, None] - centred[None], axis=-1), atol=0.03)


# --- the command


@pytest.fixture
def written(tmp_path):
    labels = faces(tmp_path / "my data")
    write_points(labels, tmp_path / "my data" / "annotations.csv", "csv")
    return tmp_path


def test_check_writes_a_sheet_and_a_recipe_that_trains(written, capsys):
    recipe, sheet = written / "my.yaml", written / "sheet.png"
    assert (
        main(["check", str(written / "my data"), "--write", str(recipe), "--sheet", str(sheet), "--workers", "1"]) == 0
    )
    out = capsys.readouterr().out
    assert "24 images, 24 objects of 4 points" in out
    assert f"next: snellen train {recipe}" in out
    assert Image.open(sheet).size == (1200, 6 * 314)
    config = from_dict(yaml.safe_load(recipe.read_text()))
    assert config.data.swaps == (("left_eye", "right_eye"),)
    # The farthest two of the four points are an eye and the chin.
    assert set(config.data.normaliser) <= {"left_eye", "right_eye", "chin"}
    train, val = (build_dataset(config.data, split) for split in ("train", "val"))
    assert len(train) + len(val) == 24
    settings = {
        "train.steps": 2, "train.batch_size": 4, "train.threads": 1, "out": str(written / "runs"), "train.ema": 0.0,
        "data.canvas": [32, 32], "model.choices": {"branches": 4, "width": 0.25, "norm": "batch"},
    }  # fmt: skip
    run = api.train(str(recipe), **settings)
    found = api.load(run).predict(written / "my data" / train.names[0])[0]
    assert found.schema.points == FACE.points
    assert main(["check", str(written / "my data"), "--write", str(recipe)]) == 1
    assert "exists" in capsys.readouterr().err


def proposed(source, *options):
    """Names of the images that a proposal trains on and validates on, and its data."""
    recipe = source.parent / "proposed.yaml"
    recipe.unlink(missing_ok=True)
    assert main(["check", str(source), *options, "--write", str(recipe), "--sheet", "", "--workers", "1"]) == 0
    config = from_dict(yaml.safe_load(recipe.read_text(encoding="utf-8")))
    return {name for split in ("train", "val") for name in build_dataset(config.data, split).names}, config.data


@pytest.mark.parametrize("name", ["csv", "tps", "cvat", "coco"])
def test_a_proposal_finds_pictures_that_lie_elsewhere(tmp_path, name):
    labels = faces(tmp_path / "pictures")
    source = tmp_path / "tables" / f"labels.{name}"
    source = source.with_suffix({"cvat": ".xml", "coco": ".json"}.get(name, source.suffix))
    write_points(labels, source, name)
    names, data = proposed(source, "--root", str(tmp_path / "pictures"))
    assert names == {image.file for image in labels.images}
    assert data.root == str(tmp_path / "pictures")


def test_a_proposal_keeps_how_the_annotations_were_read(tmp_path):
    labels = faces(tmp_path)
    write_points(labels, tmp_path / "w.tps", "tps")
    (tmp_path / "w.tps").write_text(
        (tmp_path / "w.tps").read_text("utf-8").replace("IMAGE", "SCALE=0.5\nIMAGE"), "utf-8"
    )
    names, data = proposed(tmp_path / "w.tps", "--scale-unit", "10", "--origin", "0")
    assert (len(names), data.scale_unit, data.origin) == (24, 10, 0)
    assert build_dataset(data, "train").scales.tolist()[0] == 5  # half a centimetre a pixel
    write_points(labels, tmp_path / "pts", "pts")
    for image in labels.images:
        (tmp_path / image.file).rename(tmp_path / "pts" / image.file)
    names, data = proposed(tmp_path / "pts")
    assert names == {image.file for image in labels.images}


@pytest.mark.parametrize("pictures", ["train2017", "images", "images/train2017"])
def test_the_layout_of_coco_is_found_from_its_folder(tmp_path, pictures):
    labels = faces(tmp_path / "coco" / pictures)
    write_points(labels, tmp_path / "coco" / "annotations" / "person_keypoints_train2017.json", "coco")
    expected = {image.file for image in labels.images}
    assert proposed(tmp_path / "coco")[0] == expected
    # So does a recipe that names the folder of the layout.
    own = {
        "format": "coco",
        "root": str(tmp_path / "coco"),
        "annotations": "annotations/person_keypoints_train2017.json",
    }
    config = from_dict({"data": own})
    assert {n for split in ("train", "val") for n in build_dataset(config.data, split).names} == expected


def test_a_proposal_for_coco_with_crowds_and_objects_without_points_trains(tmp_path):
    labels = faces(tmp_path)
    second = [replace(image.objects[0], keypoints=Keypoints.visible(image.objects[0].keypoints.xy + 9, FACE), box=None)
              for image in labels.images]  # fmt: skip
    two = [replace(i, objects=(*i.objects, o)) for i, o in zip(labels.images, second, strict=True)]
    write_points(replace(labels, images=tuple(two)), tmp_path / "c.json", "coco")
    data = json.loads((tmp_path / "c.json").read_text("utf-8"))
    nothing = {"keypoints": [0] * 12, "num_keypoints": 0}
    data["annotations"][0] |= {**nothing, "iscrowd": 1}
    data["annotations"][2] |= {**nothing, "bbox": [0, 0, 0, 0]}
    (tmp_path / "c.json").write_text(json.dumps(data), "utf-8")
    names, own = proposed(tmp_path / "c.json")
    assert (len(names), own.box) == (46, "given")  # of 48


def test_objects_without_a_labelled_point_are_a_note(tmp_path):
    labels = moved(faces(tmp_path), 3, lambda xy: xy * np.nan)
    found = kinds(labels)
    assert set(found) == {"blank"}
    assert (found["blank"].severity, found["blank"].files) == ("note", (labels.images[3].file,))
    assert found["blank"].sentence == "1 object has no labelled point; training leaves such out"


def test_a_broken_csv_of_a_project_of_deeplabcut_is_one_finding_among_others(tmp_path, capsys):
    labels = faces(tmp_path / "labeled-data" / "m1")
    named = [replace(image, file=f"labeled-data/m1/{image.file}") for image in labels.images]
    write_points(replace(labels, images=tuple(named)), tmp_path / "labeled-data/m1/CollectedData_Anna.csv", "dlc")
    broken = tmp_path / "labeled-data/m2/CollectedData_Anna.csv"
    broken.parent.mkdir()
    broken.write_text("")
    assert main(["check", str(tmp_path), "--json", "--sheet", "", "--workers", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], [f["kind"] for f in report["findings"]]) == (24, ["broken"])
    assert str(broken) in report["findings"][0]["sentence"]


def test_check_answers_json_and_a_status(written, capsys):
    assert main(["check", str(written / "my data"), "--json", "--sheet", "", "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 24
    (written / "my data" / "fäce 03.png").write_bytes(b"")
    assert main(["check", str(written / "my data"), "--json", "--sheet", "", "--workers", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["must_fix"]
    assert [f["files"] for f in report["findings"] if f["kind"] == "unreadable"] == [["fäce 03.png"]]


def test_convert_says_what_is_lost(written, capsys):
    source = str(written / "my data")
    assert main(["convert", source, str(written / "x.tps"), "--to", "tps"]) == 0
    out = capsys.readouterr().out
    assert "from csv to tps; 24 images with 24 objects were read" in out
    assert "lost: tps: the names of the 4 points" in out
    back = read_points(written / "x.tps", root=source)
    straight = read_points(source)
    for (_, a), (_, b) in zip(back.objects, straight.objects, strict=True):
        np.testing.assert_allclose(a.keypoints.xy, b.keypoints.xy, atol=1e-5)
    assert main(["convert", source, str(written / "y"), "--to", "cocoo"]) == 1
    assert "nearest: coco" in capsys.readouterr().err
    with pytest.raises(AnnotationError, match="exists"):
        api.convert(source, written / "x.tps", "tps")
