"""`snellen predict`: order, resuming, broken files, boxes, locators, formats."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError, from_dict
from snellen.geometry import Box
from snellen.images import ImageError
from snellen.inference import load
from snellen.inference.box_table import BoxTable
from snellen.inference.sources import Source, expand, frames
from snellen.inference.stream import Request, find_points
from snellen.keypoints.formats import read_csv
from snellen.training.fit import fit
from tiny import class_recipe, label_recipe, table_rows, write_classes, write_label_maps


def xy_of(row, names=("bright", "dark")):
    return np.array([[float(row[f"{n}_x"]), float(row[f"{n}_y"])] for n in names])


def test_a_table_holds_what_python_answers_in_the_files_order(run, pictures, tmp_path):
    done = api.predict(run, [pictures], tmp_path / "out.csv", batch_size=3, device="cpu")
    files = [s.path for s in expand([pictures])]
    assert done.answered == len(files) == 10
    assert not done.skipped
    found = table_rows(done.out)
    assert [row["file"] for row in found] == [str(f) for f in files] == sorted(map(str, files))
    answers = load(run, "cpu").predict(files)
    for row, answer in zip(found, answers, strict=True):
        np.testing.assert_allclose(xy_of(row), answer.xy - 0.5, atol=2e-3)  # the CSV counts pixels from 0
        np.testing.assert_allclose([float(row["bright_score"]), float(row["dark_score"])], answer.score, atol=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["out.csv"]


def test_points_with_little_confidence_are_not_found(run, pictures, tmp_path):
    api.predict(run, [pictures], tmp_path / "all.csv")
    scores = sorted(float(r[f"{n}_score"]) for r in table_rows(tmp_path / "all.csv") for n in ("bright", "dark"))
    middle = (scores[9] + scores[10]) / 2
    api.predict(run, [pictures], tmp_path / "some.csv", min_confidence=middle)
    api.predict(run, [pictures], tmp_path / "some.jsonl", to="jsonl", min_confidence=middle)
    cells = [r[f"{n}_x"] for r in table_rows(tmp_path / "some.csv") for n in ("bright", "dark")]
    assert cells.count("") == 10
    lines = [json.loads(line) for line in (tmp_path / "some.jsonl").read_text().splitlines()]
    assert [p["x"] is None for line in lines for p in line["points"].values()] == [c == "" for c in cells]
    answers = load(run).predict([line["file"] for line in lines], min_confidence=middle)
    assert sum(int((~a.labelled).sum()) for a in answers) == 10
    assert all(np.isnan(a.xy[~a.labelled]).all() and np.isfinite(a.score).all() for a in answers)
    with pytest.raises(ValueError, match="between 0 and 1"):
        answers[0].confident(1.5)


# --- broken files


def test_broken_files_are_skipped_counted_and_named_while_the_others_are_processed(run, pictures, tmp_path, capsys):
    good = next(pictures.glob("*.jpg")).read_bytes()
    (pictures / "truncated.jpg").write_bytes(good[: len(good) * 3 // 4])
    (pictures / "zero.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (pictures / "text.jpg").write_text("no picture")
    Image.new("L", (1, 1)).save(pictures / "one.png")
    frames = [Image.new("L", (40, 40), v) for v in (10, 200)]
    frames[0].save(pictures / "moving.gif", save_all=True, append_images=frames[1:])
    missing = pictures / "missing.png"
    out = tmp_path / "out.csv"
    assert (
        main(["predict", str(run), str(pictures), str(tmp_path / "folder.png"), str(missing), "--out", str(out)]) == 1
    )
    assert "folder.png holds no pictures" in capsys.readouterr().err
    assert main(["predict", str(run), str(pictures), str(missing), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answered"] == len(table_rows(out)) == 12  # with the 1x1 picture and the animation's first frame
    skipped = {row["file"].rpartition("/")[2]: row["error"] for row in table_rows(tmp_path / "out.skipped.csv")}
    assert set(skipped) == {"truncated.jpg", "zero.png", "text.jpg", "missing.png"}
    assert told["skipped"] == 4
    words = {"truncated": "cannot be decoded", "zero": "is empty", "text": "not a picture", "missing": "exist"}
    for name, says in words.items():
        (sentence,) = (s for n, s in skipped.items() if n.startswith(name))
        assert says in sentence
        assert name in sentence
    with pytest.raises(ValueError, match=r"zero\.png is empty|truncated\.jpg|text\.jpg"):
        api.predict(run, [pictures], tmp_path / "strict.csv", on_error="raise")
    assert not (tmp_path / "strict.csv").exists()


def test_a_picture_over_the_limit_is_skipped_by_its_header(run, pictures, tmp_path):
    done = api.predict(run, [pictures], tmp_path / "out.csv", max_pixels=3200)
    assert done.answered == 2  # 60x50 and 63x50
    assert all("over the limit of 3,200" in s and "max_pixels" in s for s in done.skipped)


def test_a_file_whose_name_is_not_utf_8_is_skipped_and_named(run, pictures, tmp_path, capsys):
    odd = os.fsdecode(os.fsencode(pictures) + b"/latin\xe9.png")
    try:
        Path(odd).write_bytes(next(pictures.glob("*.png")).read_bytes())
    except OSError:
        pytest.skip("this file system wants UTF-8")
    for to in ("csv", "coco"):
        out = tmp_path / f"out.{to}"
        ask = ["predict", str(run), str(pictures), "--out", str(out), "--to", to, "--draw", str(tmp_path / to)]
        assert main(ask) == 0
        assert "latin\\xe9.png has a name that is not UTF-8" in capsys.readouterr().out
        (row,) = table_rows(tmp_path / "out.skipped.csv")
        assert row["file"] == f"{pictures}/latin\\xe9.png"
        assert len(list((tmp_path / to).iterdir())) == 10
    assert len(table_rows(tmp_path / "out.csv")) == 10
    with pytest.raises(ImageError, match=r"not UTF-8.*rename the file"):
        api.predict(run, [odd], tmp_path / "strict.csv", on_error="raise")


# --- where to look


def test_boxes_come_from_a_table_several_a_picture(run, pictures, tmp_path):
    files = [s.path for s in expand([pictures])][:3]
    boxes = [Box(5, 5, 45, 45), Box(10, 0, 60, 50), Box(0.5, 2, 40, 41.5)]
    table = tmp_path / "boxes.csv"
    lines = ["label,file,left,top,right,bottom"]
    for file, box in ((files[0], boxes[0]), (files[1].name, boxes[1]), (files[0], boxes[2])):
        lines.append(f"disc,{file},{','.join(map(str, box))}")
    table.write_text("\n".join(lines))
    done = api.predict(run, files, tmp_path / "out.csv", boxes=table)
    assert len(done.skipped) == 1
    assert f"{files[2]} has no box" in done.skipped[0]
    found = table_rows(done.out)
    assert [r["file"] for r in found] == [str(files[0]), f"{files[0]}#2", str(files[1])]
    expected = load(run).predict([files[0], files[0], files[1]], [boxes[0], boxes[2], boxes[1]])
    for row, answer in zip(found, expected, strict=True):
        np.testing.assert_allclose(xy_of(row), answer.xy - 0.5, atol=2e-3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("file,left,top,right\n", "no column 'bottom'"),
        ("a.png,1,2,3\n", "row 1: 4 columns"),
        ("file,left,top,right,bottom\na.png,1,2,x,4\n", "row 2: 'x' is not a number"),
        ("a.png,1,2,nan,4\n", "row 1: 'nan' is not a number"),
        ("a.png,10,10,5,20\n", "row 1: the box .* is empty"),
    ],
)
def test_tables_of_boxes_that_cannot_be_used(tmp_path, text, says):
    file = tmp_path / "boxes.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        BoxTable(file)


@pytest.mark.parametrize("header", ["file,left,top,right,bottom", "score,box_top,file,box_left,box_right,box_bottom"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_boxes_have_either_header_and_any_separator(tmp_path, header, separator):
    cells = {"file": "a, b.png" if separator != "," else "a.png", "score": "0.5"}
    edges = Box(1, 2, 30, 40.5)._asdict()
    cells |= {prefix + name: str(value) for prefix in ("", "box_") for name, value in edges.items()}
    file = tmp_path / "boxes.csv"
    lines = [header.split(","), [cells[name] for name in header.split(",")]]
    file.write_text("\n".join(separator.join(line) for line in lines))
    assert BoxTable(file).of(Path(cells["file"])) == [Box(1, 2, 30, 40.5)]
    if not header.startswith("score"):  # and without one
        file.write_text(separator.join(lines[1]))
        assert BoxTable(file).of(Path(cells["file"])) == [Box(1, 2, 30, 40.5)]


def test_a_locator_finds_the_box_that_the_crop_model_was_trained_on(run, pictures):
    locator, refiner = load(run, "cpu"), load(run, "cpu")
    refiner.card["box"] = {"rule": "square", "scale": 2.0}
    files = [s.path for s in expand([pictures])][:4]
    for file, first, second in zip(
        files,
        locator.predict(files),
        find_points(refiner, [Request(str(f), f) for f in files], locator=locator),
        strict=True,
    ):
        (low, high), centre = (first.xy.min(0), first.xy.max(0)), (first.xy.min(0) + first.xy.max(0)) / 2
        half = max(high - low)  # twice the larger extent is the side
        np.testing.assert_allclose(second.box, [*(centre - half), *(centre + half)], atol=0.02)
        expected = refiner.predict([file], [second.box])[0]
        np.testing.assert_allclose(second.keypoints.xy, expected.xy, atol=0.02)


def test_options_that_make_no_sense_are_refused(run, tmp_path):
    for options, says in (
        ({"boxes": tmp_path, "locator": tmp_path}, "give one of them"),
        ({"min_confidence": 2}, "between 0 and 1"),
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"to": "cooc"}, "there is no format 'cooc'"),
    ):
        with pytest.raises(ConfigError, match=says):
            api.predict(run, ["x.png"], tmp_path / "out.csv", **options)


# --- files


def test_files_folders_patterns_and_lists_are_expanded_in_order(pictures, tmp_path):
    names = [s.path for s in expand([pictures])]
    first, last = pictures / "disc ü00.png", names[-1]
    listing = pictures / "list.txt"
    listing.write_text(f"# chosen\n{last.relative_to(pictures)}\n\n{first.name}\n", encoding="utf-8")
    assert [s.path for s in expand([listing])] == [last, first]
    jpegs = [n for n in names if n.suffix == ".jpg" and n.parent == pictures]
    assert [s.path for s in expand([str(pictures / "*.jpg")])] == jpegs
    assert [s.path for s in expand([last, pictures])] == [last, *names[:-1]]  # once each
    for given, says in ((str(pictures / "*.tiff"), "no file matches"), (tmp_path / "leer", "holds no pictures")):
        (tmp_path / "leer").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=says):
            expand([given])


def test_videos_are_predicted_frame_by_frame(run, tmp_path):
    av = pytest.importorskip("av")
    file = tmp_path / "clip.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in (20, 90, 160, 230):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    seen = list(frames(Source("clip.mp4", file, True)))
    assert [name for name, _ in seen] == [f"clip.mp4#{i}" for i in range(4)]
    assert [round(float(p.mean()), -1) for _, p in seen] == [20, 90, 160, 230]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    done = api.predict(run, [tmp_path], tmp_path / "out.csv", every=2)
    assert [row["file"].rpartition("/")[2] for row in table_rows(done.out)] == ["clip.mp4#0", "clip.mp4#2"]
    assert "cannot be read as a video" in done.skipped[0]


def test_one_command_says_how_to_install_what_reads_videos(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"x")
    assert main(["predict", str(run), str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "out.csv")]) == 1
    said = capsys.readouterr().err
    assert said.count("pip install") == 1
    assert "pip install 'snellen[video]'" in said


# --- other tasks


def test_classes_label_maps_and_their_tables(tmp_path):
    classes = write_classes(tmp_path / "classes")
    classifier = fit(from_dict(class_recipe(classes, tmp_path / "runs", steps=2, validate_every=2))).path
    done = api.predict(classifier, [classes / "test", __file__], tmp_path / "classes.csv")
    assert (done.answered, len(done.skipped)) == (20, 1)
    for row in table_rows(done.out):
        assert {row["class1"], row["class2"]} == {"above", "below"}
        assert float(row["probability1"]) + float(row["probability2"]) == pytest.approx(1, abs=1e-3)
        assert float(row["probability1"]) >= float(row["probability2"])
    with pytest.raises(ConfigError, match="--boxes is for keypoints"):
        api.predict(classifier, [classes], tmp_path / "x.csv", boxes=classes)
    with pytest.raises(ConfigError, match="model for classification"):
        api.predict(classifier, [classes], tmp_path / "x.csv", flip=True)

    maps = write_label_maps(tmp_path / "maps")
    segmenter = fit(from_dict(label_recipe(maps, tmp_path / "runs2", steps=2, validate_every=2))).path
    with pytest.raises(ConfigError, match=r"give --out an ending: answers.csv"):
        api.predict(segmenter, [maps / "test"], tmp_path / "answers")
    assert not list(tmp_path.glob("*answers*"))
    done = api.predict(segmenter, [maps / "test"], tmp_path / "maps.csv")
    for row in table_rows(done.out):
        labels = np.array(Image.open(row["labels"]))
        np.testing.assert_array_equal(labels, load(segmenter).predict(row["file"])[0].labels)
        assert float(row["bright"]) == pytest.approx((labels == 2).mean(), abs=1e-4)
    # The folder of the label maps is the table's name: not that of the pictures.
    copies = tmp_path / "copies"
    copies.mkdir()
    for row in table_rows(done.out)[:2]:
        Image.open(row["file"]).save(copies / f"{Path(row['file']).stem}.png")
    before = [p.read_bytes() for p in sorted(copies.iterdir())]
    with pytest.raises(ConfigError, match="--out would write over it"):
        api.predict(segmenter, [copies], tmp_path / "copies.csv", overwrite=True)
    assert [p.read_bytes() for p in sorted(copies.iterdir())] == before
    done.out.unlink()
    with pytest.raises(ConfigError, match="exists; pass --overwrite"):
        api.predict(segmenter, [maps / "test"], tmp_path / "maps.csv")


def test_a_written_table_can_be_read_as_annotations(run, pictures, tmp_path):
    """Without its scores and boxes: the columns of points are those of the CSV reader, at its own origin."""
    done = api.predict(run, [pictures], tmp_path / "out.csv")
    plain = ["file,bright_x,bright_y,dark_x,dark_y"]
    plain += [
        ",".join([r["file"], *(r[f"{n}_{a}"] for n in ("bright", "dark") for a in "xy")]) for r in table_rows(done.out)
    ]
    (tmp_path / "plain.csv").write_text("\n".join(plain), encoding="utf-8")
    answers = load(run).predict([r["file"] for r in table_rows(done.out)])
    for read, answer in zip(read_csv(tmp_path / "plain.csv"), answers, strict=True):
        np.testing.assert_allclose(read.keypoints.xy, answer.xy, atol=2e-3)
