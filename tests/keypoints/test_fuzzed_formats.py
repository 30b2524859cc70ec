"""Files with mistakes of any kind: a reader reads them or says one sentence, and raises nothing else."""

import copy
import json
import random

import pytest
import yaml

from format_files import picture, write
from refusals import refuse
from snellen.data import DataError
from snellen.data.own import read_boxes
from snellen.keypoints.formats import (
    AnnotationError,
    read_coco,
    read_label_studio,
    read_labelme,
    read_points,
    read_yolo,
)

POINTS = "0.25 0.5 2 0.75 0.5 1"
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "fly", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1], "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1},
    ],
}
SHAPE = {"label": "nose", "points": [[1.5, 2]], "group_id": 1, "shape_type": "point", "flags": {"occluded": True}}
LABELME = {
    "version": "5.4.1", "flags": {}, "imagePath": "a.png", "imageData": None, "imageHeight": 40, "imageWidth": 60,
    "shapes": [SHAPE, {**SHAPE, "label": "tail"},
               {**SHAPE, "label": "fly", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"}],
}  # fmt: skip
REGION = {"id": "r", "type": "keypointlabels", "original_width": 60, "original_height": 40, "image_rotation": 0,
          "parentID": "b", "value": {"x": 10, "y": 20, "width": 0.3, "keypointlabels": ["nose"]}}  # fmt: skip
RECTANGLE = {**REGION, "id": "b", "type": "rectanglelabels",
             "value": {"x": 5, "y": 5, "width": 30, "height": 40, "rectanglelabels": ["fly"]}}  # fmt: skip
STUDIO = [{"id": 1, "data": {"img": "/data/upload/1/a.png"},
           "annotations": [{"was_cancelled": False, "result": [REGION, RECTANGLE]}]}]  # fmt: skip
YOLO = {"path": ".", "train": "images/train", "val": ["images/val"], "kpt_shape": [2, 3], "flip_idx": [1, 0],
        "names": {0: "fly"}, "kpt_names": {0: ["nose", "tail"]}}  # fmt: skip
CVAT = """<annotations><version>1.1</version><image id="0" subset="Train" name="a.png" width="60" height="40">
<skeleton label="fly"><points label="1" outside="0" occluded="1" points="12.50,30.00"/></skeleton>
<points label="1" occluded="0" points="8.2,4.5" group_id="4"/>
<box label="fly" xtl="1.0" ytl="2.0" xbr="30.0" ybr="40.0" group_id="4"/>
</image></annotations>"""
TEXTS = {
    "csv": ("a.csv", "file,id,nose_x,nose_y,nose_v,split,mm_per_pixel\na.png,1,1,2,1,train,0.5\nb.png,1,3,4,,val,\n"),
    "csv-long": ("a.csv", "file,point,x,y,visibility,id\na.png,nose,1,2,1,1\na.png,tail,3,4,2,1\nb.png,nose,1,2,,1\n"),
    "dlc": ("a.csv", "scorer,A,A,A,A\nindividuals,m,m,n,n\nbodyparts,s,s,s,s\ncoords,x,y,x,y\na.png,1,2,3,4\n"),
    "tps": ("a.tps", "LM=2\n1 2\n3 4\nIMAGE=a.png\nID=1\nSCALE=0.5\nLM=2\n1 2\n-1 -1\nIMAGE=b.png\n"),
    "pts": ("a.pts", "version: 1\nn_points: 2\n{\n1 2\n3 4\n}\n"),
    "mtfl": ("a.txt", "a.png 1 2 3 4 5 1 2 3 4 5 1 1\nb.png 1 2 3 4 5 1 2 3 4 5\n"),
    "cvat": ("a.xml", CVAT),
    "yolo rows": ("labels/train/a.txt", f"0 0.5 0.5 0.2 0.4 {POINTS}\n0 0.5 0.5 0.2 0.4 {POINTS}\n"),
    "boxes": ("boxes.csv", "file,score,box_left,box_top,box_right,box_bottom\na.png,0.9,1,2,3,4\n"),
}
TREES = {
    "coco": ("a.json", COCO),
    "labelme": ("a.json", LABELME),
    "label-studio": ("a.json", STUDIO),
    "yolo": ("data.yaml", YOLO),
}
#: What is put into the place of something.
ODD = (None, [], {}, "", "x", "a\nb", "\0", "\ud800", "x" * 300, -1, 0, 2.5, 10**400, 10**9, float("inf"), float("nan"),
       True, [None], [[1]], {"a": 1}, {"0": None}, "../..", "1e999")  # fmt: skip
WORDS = ("", "x", "nan", "-1", "1e999", "9" * 5000, "=", ",", ";", "\0", '"', "{", "}", "<", "&", "ü", "a/b", "..", "\n",
         "0x1", "1_000", "LM=3", "LM=0", "POINTS=9", "n_points: 99999999999", "sep=;", "\udcff", "²")  # fmt: skip


def places(tree):
    """Every container with each of its keys."""
    found = []
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            found += [(tree, key), *places(tree[key])]
    return found


def spoil_tree(tree, rng):
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2))):
        parent, key = rng.choice(places(tree) or [([0], 0)])
        if rng.random() < 0.2:
            del parent[key]
        elif rng.random() < 0.1:
            parent[key] = [copy.deepcopy(parent[key])] * 2
        else:
            parent[key] = rng.choice(ODD)
    return tree


def spoil_text(text, rng):
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((0, 1, 1, 3, 20)))
        text = text[:at] + rng.choice(WORDS) + text[end:]
        if rng.random() < 0.2:
            lines = text.split("\n")
            rng.shuffle(lines)
            text = "\n".join(lines[: rng.randrange(len(lines) + 1)])
    return text


def data_set(root):
    """Pictures wherever a format looks for them, and a sound data set of YOLO around its label files."""
    for folder in ("", "images/train", "images/val"):
        for name in ("a.png", "b.png"):
            picture(root / folder / name, 60, 40)
    write(root / "labels/train/b.txt", f"0 0.5 0.5 0.2 0.4 {POINTS}\n")
    write(root / "data.yaml", yaml.safe_dump(YOLO))


@pytest.mark.parametrize("name", [*TEXTS, *TREES])
def test_a_spoilt_file_is_read_or_refused_in_one_sentence(tmp_path, name):
    data_set(tmp_path)
    rng, read, refusals = random.Random(name), 0, []
    file, content = (TEXTS | TREES)[name]
    for number in range(300):
        if name in TEXTS:
            text = spoil_text(content, rng) if number else content
        else:
            spoilt = spoil_tree(content, rng) if number else content
            text = yaml.safe_dump(spoilt) if name == "yolo" else json.dumps(spoilt)
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, "utf-8", "surrogateescape" if name in TEXTS else "replace")
        try:
            if name == "boxes":
                read_boxes(tmp_path / file)
            else:
                path, form = (tmp_path / "data.yaml", "yolo") if name == "yolo rows" else (tmp_path / file, name)
                form = "auto" if number % 3 == 0 and name != "mtfl" else form
                read_points(path, form, on_error="skip" if number % 2 else "raise")
            read += 1
        except (AnnotationError, DataError) as error:
            refusals.append(str(error))
    assert read
    assert refusals or name == "yolo rows"
    assert not [sentence for sentence in refusals if "\n" in sentence]


@pytest.mark.parametrize(
    ("read", "tree", "says"),
    [
        (read_yolo, {**YOLO, "flip_idx": [[1, 0], 2]}, "flip_idx is [[1, 0], 2], which is no list of whole numbers"),
        (read_yolo, {**YOLO, "kpt_names": 3}, "kpt_names is 3, which is no list of names"),
        (read_yolo, {**YOLO, "names": 3}, "names is 3, which is no list of names"),
        (read_yolo, {**YOLO, "kpt_shape": [10**9, 3], "kpt_names": None, "flip_idx": None}, "points an object cannot be"),
        (read_label_studio, [{**STUDIO[0], "annotations": [None]}], "task 1: annotations is no list of objects"),
        (read_label_studio, [{**STUDIO[0], "annotations": [{"result": [None]}]}], "task 1: result is no list of objects"),
        (read_label_studio,
         [{**STUDIO[0], "annotations": [{"result": [{**REGION, "value": {"x": 1, "y": 1, "keypointlabels": [[1]]}}]}]}],
         "task 1: the labels of a keypoint are [[1]], which are no words"),
        (read_labelme, {**LABELME, "shapes": [{**SHAPE, "group_id": [1]}]}, "shape 1: the group_id [1] is no number"),
        (read_labelme, {**LABELME, "shapes": [{**SHAPE, "flags": ["occluded"]}]}, "shape 1: flags are ['occluded']"),
        (read_labelme, {**LABELME, "imageHeight": "abc"}, "imageHeight: 'abc' is not a finite number"),
        (read_coco, {**COCO, "images": [None]}, "image 1: this names no file"),
        (read_coco, {**COCO, "images": [{**COCO["images"][0], "width": float("inf")}]}, "image 1: inf is not a finite"),
        (read_coco, {**COCO, "annotations": [{**COCO["annotations"][0], "image_id": [1]}]}, "no image has the id [1]"),
        (read_coco, {**COCO, "annotations": [{**COCO["annotations"][0], "bbox": {"x": 1}}]}, "annotation 1: bbox is"),
        (read_coco, {**COCO, "images": [{**COCO["images"][0], "id": 2}, COCO["images"][1]]}, "image 2: the id 2 is that"),
    ],
)  # fmt: skip
def test_likely_mistakes_have_sentences_of_their_own(tmp_path, read, tree, says):
    data_set(tmp_path)
    text = yaml.safe_dump(tree) if read is read_yolo else json.dumps(tree)
    refuse(read, write(tmp_path / ("data.yaml" if read is read_yolo else "a.json"), text), says)


def test_a_wrong_call_is_no_wrong_file(tmp_path):
    with pytest.raises(TypeError, match="orign"):
        read_coco(tmp_path / "a.json", orign=0)
