"""Formats of tools that draw on pictures, as documented, with an oddity of real files, against positions worked out by hand."""

import json

import numpy as np
import pytest

from format_files import only, picture, write
from refusals import refuse
from snellen.geometry import Box
from snellen.keypoints.formats import (
    AnnotationError,
    read_coco,
    read_cvat,
    read_label_studio,
    read_labelme,
    read_yolo,
    recognise,
)

NAN = np.nan

# --- COCO: https://cocodataset.org/#format-data

COCO = {
    "images": [{"id": 10, "file_name": "dir\\a.jpg", "width": 640, "height": 480}, {"id": 11, "file_name": "b.jpg"}],
    "categories": [
        {"id": 1, "name": "crate"},
        {"id": 2, "name": "fish", "keypoints": ["mouth", "tail", "fin"], "skeleton": [[1, 2], [2, 3]]},
    ],
    "annotations": [
        {
            "id": 5,
            "image_id": 10,
            "category_id": 2,
            "keypoints": [83, 41, 2, 0, 0, 0, 9.5, 10.5, 1],
            "bbox": [1, 2, 30, 40],
        },
        {"id": 6, "image_id": 10, "category_id": 1, "bbox": [0, 0, 5, 5]},
        # Some tools write null for what is not labelled.
        {"id": 7, "image_id": 10, "category_id": 2, "keypoints": [1, 2, 2, None, None, 0, 3, 4, 2]},
    ],
}


def test_coco(tmp_path):
    labels = read_coco(write(tmp_path / "c.json", json.dumps(COCO)))
    assert labels.schema.points == ("mouth", "tail", "fin")
    assert labels.schema.skeleton == (("mouth", "tail"), ("tail", "fin"))  # counted from 1 in the file
    first, empty = labels.images
    assert (first.file, first.size, empty.file, empty.objects) == ("dir/a.jpg", (480, 640), "b.jpg", ())
    # Pixel 83 has its centre at 83.5; boxes are measured from the corner already.
    np.testing.assert_array_equal(first.objects[0].keypoints.xy, [[83.5, 41.5], [NAN, NAN], [10, 11]])
    assert first.objects[0].keypoints.visibility.tolist() == [2, 0, 1]
    assert first.objects[0].box == Box(1, 2, 31, 42)
    assert [o.id for o in first.objects] == ["5", "7"]
    assert labels.notes == ("1 annotations hold no keypoints of the category and are left out",)


def test_coco_refusals(tmp_path):
    file = tmp_path / "c.json"
    refuse(read_coco, file, "does not exist")
    refuse(read_coco, write(file, "{\n\n 'a'"), "row 3", "no JSON")
    refuse(read_coco, write(file, "[1]"), "images", "annotations")
    for change, says in (
        ({"keypoints": [1, 2, 2, 3, 4]}, "not 5 numbers"),
        ({"keypoints": [1, 2, 7, 0, 0, 0, 0, 0, 0]}, "visibility 7"),
        ({"keypoints": ["x", 2, 2, 0, 0, 0, 0, 0, 0]}, "'x' is not a finite number"),
        ({"keypoints": [NAN, 2, 2, 0, 0, 0, 0, 0, 0]}, "nan is not a finite number"),
        ({"image_id": 99}, "no image has the id 99"),
    ):
        data = {**COCO, "annotations": [{**COCO["annotations"][0], **change}]}
        refuse(read_coco, write(file, json.dumps(data)), "annotation 1", says)
    two = {**COCO, "categories": [{**c, "keypoints": ["a", "b", "c"]} for c in COCO["categories"]]}
    refuse(read_coco, write(file, json.dumps(two)), "2 categories with keypoints")


def test_coco_crowds_and_objects_without_a_labelled_point_are_left_out_and_counted(tmp_path):
    first = COCO["annotations"][0]
    nothing = {**first, "keypoints": [0] * 9, "num_keypoints": 0}
    crowd = {**first, "iscrowd": 1, "segmentation": {"counts": [1], "size": [1, 1]}}
    images = [*COCO["images"], {"id": 12, "file_name": "c.jpg"}]
    data = {**COCO, "images": images, "annotations": [first, nothing, crowd, {**nothing, "image_id": 12}]}
    labels = read_coco(write(tmp_path / "c.json", json.dumps(data)))
    assert [(i.file, len(i.objects)) for i in labels.images] == [("dir/a.jpg", 1), ("b.jpg", 0), ("c.jpg", 0)]
    assert labels.notes[:2] == (
        "1 annotations are crowds (iscrowd), many objects in one, and are left out",
        "2 objects have no labelled point, as COCO's small ones, and are left out",
    )
    refuse(read_coco, write(tmp_path / "c.json", json.dumps({**COCO, "annotations": [nothing]})), "no annotated object")


def test_a_skeleton_of_coco_that_counts_from_0(tmp_path):
    def read(*lines):
        categories = [COCO["categories"][0], {**COCO["categories"][1], "skeleton": list(lines)}]
        return read_coco(write(tmp_path / "c.json", json.dumps({**COCO, "categories": categories})))

    labels = read([0, 1], [1, 2])
    assert labels.schema.skeleton == (("mouth", "tail"), ("tail", "fin"))
    assert "the skeleton counts points from 0, where COCO counts from 1, and is read so" in labels.notes
    for lines, says in (
        ([[0, 1], [2, 3]], "the skeleton has [2, 3], but its points count from 0 to 2"),
        ([[1, 4]], "the skeleton has [1, 4], but its points count from 1 to 3"),
        ([[-1, 2]], "the skeleton has [-1, 2]"),
        ([["mouth", "tail"]], "category 'fish': this is not as COCO has it"),
    ):
        with pytest.raises(AnnotationError) as error:
            read(*lines)
        assert says in str(error.value)


# --- LabelMe: https://github.com/wkentaro/labelme


def shape(label, *points, kind="point", group=None, **flags):
    return {"label": label, "points": [list(p) for p in points], "group_id": group, "shape_type": kind, "flags": flags}


def labelme(path, *shapes, picture="..\\photos\\a.jpg"):
    data = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": picture, "imageData": None,
            "imageHeight": 480, "imageWidth": 640}  # fmt: skip
    return write(path, json.dumps(data))


def test_labelme(tmp_path):
    labelme(
        tmp_path / "json/a.json",
        shape("nose", (83.25, 41.5), group=1), shape("tail", (10, 20), group=1, occluded=True),
        shape("tail", (11, 21), group=2), shape("face", (90, 50), (5, 6), kind="rectangle", group=1),
        shape("leaf", (0, 0), (1, 1), (2, 0), kind="polygon"),
    )  # fmt: skip
    write(tmp_path / "json/b.json", "{")
    labels = read_labelme(tmp_path)
    image = labels.images[0]
    assert image.file == "photos/a.jpg"  # relative to the JSON, with the separators of Windows
    one, two = image.objects
    np.testing.assert_array_equal(one.keypoints.xy, [[83.25, 41.5], [10, 20]])  # from the corner, as the library
    assert one.keypoints.visibility.tolist() == [2, 1]
    assert (one.box, two.box) == (Box(5, 6, 90, 50), None)  # drawn from the lower right corner
    np.testing.assert_array_equal(two.keypoints.xy, [[NAN, NAN], [11, 21]])
    assert labels.notes[0].startswith("1 shapes are no points")
    assert list(labels.broken) == ["json/b.json"]


def test_labelme_with_its_picture_first_is_recognised(tmp_path):
    file = labelme(tmp_path / "a.json", shape("nose", (1, 2)))
    data = json.loads(file.read_text())
    write(file, json.dumps({"imageData": "A" * 200_000, **{k: v for k, v in data.items() if k != "imageData"}}))
    assert recognise(file) == ("labelme", file)
    assert recognise(tmp_path) == ("labelme", tmp_path)


def test_labelme_refusals(tmp_path):
    file = tmp_path / "a.json"
    refuse(read_labelme, labelme(file, shape("a", (1, 2)), shape("a", (3, 4))), "'a' is there twice", "group_id")
    refuse(read_labelme, labelme(file, shape("a", (1, 2), (3, 4))), "one x and y")
    refuse(read_labelme, labelme(file, shape("a", (1, "b"))), "'b' is not a finite number")
    refuse(read_labelme, write(file, "{}"), "no LabelMe file")


# --- CVAT: https://docs.cvat.ai/docs/manual/advanced/xml_format/

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id></task></meta>
<image id="0" subset="Train" name="a b.jpg" width="640" height="480">
  <skeleton label="wing" source="manual" z_order="0">
    <points label="2" source="manual" outside="0" occluded="1" points="12.50,30.00"/>
    <points label="1" source="manual" outside="1" occluded="0" points="0.00,0.00"/>
  </skeleton>
  <points label="1" occluded="0" points="83.20,41.50" group_id="4"/>
  <box label="fly" occluded="0" xtl="1.0" ytl="2.0" xbr="30.0" ybr="40.0" group_id="4"/>
  <polygon label="leaf" points="0,0;1,1;2,0"/>
</image>
<image id="1" name="c.jpg" width="64" height="48"/>
</annotations>
"""


def test_cvat(tmp_path):
    labels = read_cvat(write(tmp_path / "annotations.xml", CVAT))
    first, second = labels.images
    assert (first.file, first.size, first.split, second.objects) == ("a b.jpg", (480, 640), "train", ())
    points = {n: i for i, n in enumerate(labels.schema.points)}
    wing, lone = first.objects
    np.testing.assert_array_equal(wing.keypoints.xy[points["2"]], [12.5, 30])
    assert wing.keypoints.visibility[points["2"]] == 1
    assert wing.keypoints.visibility[points["1"]] == 0
    np.testing.assert_array_equal(lone.keypoints.xy[points["1"]], [83.2, 41.5])
    assert lone.box == Box(1, 2, 30, 40)
    assert labels.notes[0].startswith("1 shapes")


def test_cvat_with_unnamed_points_of_one_shape(tmp_path):
    text = CVAT.split("<skeleton")[0] + '<points label="wing" points="1,2;3.5,4" group_id="0"/></image></annotations>'
    _, item = only(read_cvat(write(tmp_path / "a.xml", text)))
    assert item.keypoints.schema.points == ("p1", "p2")
    np.testing.assert_array_equal(item.keypoints.xy, [[1, 2], [3.5, 4]])


def test_cvat_refusals(tmp_path):
    file = tmp_path / "a.xml"
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "' + "y" * 50 + '">]><annotations>&x;</annotations>'
    refuse(read_cvat, write(file, bomb), "document type")
    refuse(read_cvat, write(file, CVAT[:300]), "is no XML")
    refuse(read_cvat, write(file, "<annotation/>"), "is no CVAT file")
    refuse(read_cvat, write(file, "<annotations><track/></annotations>"), "tracks of a video")
    refuse(read_cvat, write(file, CVAT.replace("83.20,41.50", "83.20")), "image a b.jpg", "'83.20' is not x,y")


# --- YOLO-pose: https://docs.ultralytics.com/datasets/pose/

YOLO = """path: /home/somebody/else
train: images/train
val: val.txt
kpt_shape: [3, 3]
flip_idx: [1, 0, 2]
names:
  0: face
"""


def yolo(root, rows="0 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.1 1 0 0 0\n", text=YOLO):
    for name in ("train/a.jpg", "train/empty.jpg", "val/b.jpg"):
        picture(root / "images" / name, 200, 100)
    write(root / "val.txt", "./images/val/b.jpg\n")
    write(root / "labels/train/a.txt", rows)
    write(root / "labels/val/b.txt", "0 0.5 0.5 1 1 0.1 0.1 2 0.2 0.2 2 0.3 0.3 2\n")
    return write(root / "data.yaml", text)


def test_yolo(tmp_path):
    labels = read_yolo(yolo(tmp_path))  # its path is that of another machine
    images = {i.file: i for i in labels.images}
    assert images["images/train/empty.jpg"].objects == ()
    assert (images["images/train/a.jpg"].split, images["images/val/b.jpg"].split) == ("train", "val")
    (item,) = images["images/train/a.jpg"].objects
    np.testing.assert_allclose(item.keypoints.xy, [[50, 50], [150, 10], [NAN, NAN]])
    assert item.keypoints.visibility.tolist() == [2, 1, 0]
    np.testing.assert_allclose(item.box, (80, 30, 120, 70))
    assert labels.schema.swaps == (("p1", "p2"),)
    # What Ultralytics' converter made of COCO counts from the middle of the first pixel.
    assert read_yolo(tmp_path, origin=0).images[0].objects[0].keypoints.xy[0].tolist() == [50.5, 50.5]


def test_yolo_with_two_numbers_a_point_has_unlabelled_ones_at_the_corner(tmp_path):
    file = yolo(tmp_path, "0 0.5 0.5 0.2 0.4 0.25 0.5 0 0 0.75 0.1\n", YOLO.replace("3, 3", "3, 2"))
    write(tmp_path / "labels/val/b.txt", "")
    _, item = only(read_yolo(file))
    assert item.keypoints.visibility.tolist() == [2, 0, 2]


def test_yolo_of_roboflow_names_folders_from_a_place_that_is_not_there(tmp_path):
    text = YOLO.replace("path: /home/somebody/else\n", "").replace("images/train", "../images/train")
    images = {i.file for i in read_yolo(yolo(tmp_path / "set", text=text)).images}
    assert images == {"images/train/a.jpg", "images/train/empty.jpg", "images/val/b.jpg"}
    # Where the folder is there as the file says, that one is meant.
    picture(tmp_path / "images/train/c.jpg", 20, 10)
    assert "../images/train/c.jpg" in {i.file for i in read_yolo(tmp_path / "set").images}


def test_yolo_refusals(tmp_path):
    labels = read_yolo(yolo(tmp_path, "0 0.5 0.5\n"))
    assert "row 1: 3 numbers; class, box and 3 points of 3 make 14" in labels.broken["images/train/a.jpg"]
    pixels = "0 100 50 40 40 50 50 2 150 10 1 0 0 0\n"
    assert "give shares, not pixels" in read_yolo(yolo(tmp_path, pixels)).broken["images/train/a.jpg"]
    file = tmp_path / "data.yaml"
    refuse(read_yolo, write(file, "names: {0: a}\n"), "no kpt_shape")
    refuse(read_yolo, write(file, YOLO.replace("[1, 0, 2]", "[1, 2, 0]")), "flip_idx")
    refuse(read_yolo, write(file, YOLO.replace("images/train", "images/nowhere")), "neither a folder nor a list")


# --- Label Studio: https://labelstud.io/guide/task_format, https://labelstud.io/tags/keypointlabels


def region(label, x, y, parent=None, **more):
    return {"id": f"r-{label}", "type": "keypointlabels", "original_width": 200, "original_height": 100,
            "image_rotation": 0, "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]},
            **({"parentID": parent} if parent else {}), **more}  # fmt: skip


def task(*results, image="/data/upload/3/1a2b3c4d-my%20wing.jpg", **annotation):
    return {
        "id": 1,
        "data": {"img": image},
        "annotations": [{"was_cancelled": False, "result": list(results), **annotation}],
    }


def test_label_studio(tmp_path):
    picture(tmp_path / "my wing.jpg", 200, 100)  # the server put hex digits before its name
    box = {"id": "b1", "type": "rectanglelabels", "original_width": 200, "original_height": 100, "image_rotation": 0,
           "value": {"x": 10, "y": 5, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["wing"]}}  # fmt: skip
    first = task(region("base", 25, 50, "b1"), box, region("tip", 100, 100, "b1"), {"type": "choices", "value": {}})
    cancelled = task(region("base", 1, 1), image="s3://bucket/c.jpg?X=1", was_cancelled=True)
    labels = read_label_studio(write(tmp_path / "l.json", json.dumps([first, cancelled])))
    one, two = labels.images
    assert (one.file, one.size, two.file, two.objects) == ("my wing.jpg", (100, 200), "c.jpg", ())
    np.testing.assert_array_equal(one.objects[0].keypoints.xy, [[50, 50], [200, 100]])
    assert one.objects[0].box == Box(20, 5, 80, 45)
    assert labels.notes[0].startswith("1 regions are no keypoints")


def test_label_studio_with_long_annotations_first_is_recognised(tmp_path):
    tasks = [{"annotations": [{"result": [], "note": "x" * 200_000}], "data": {"img": "a.jpg"}}]
    file = write(tmp_path / "l.json", json.dumps(tasks))
    assert recognise(file) == ("label-studio", file)


def test_label_studio_refusals(tmp_path):
    file = tmp_path / "l.json"
    twice = task(region("a", 1, 2), region("a", 3, 4))
    refuse(read_label_studio, write(file, json.dumps([twice])), "task 1", "'a' is there twice", "parent")
    turned = task(region("a", 1, 2, image_rotation=90))
    refuse(read_label_studio, write(file, json.dumps([turned])), "was turned in Label Studio")
    refuse(read_label_studio, write(file, json.dumps([{"image": "a.jpg", "kp": []}])), "not JSON-MIN")
    refuse(read_label_studio, write(file, json.dumps([task(region("a", 1, 2), image="text")])), "names no picture")
