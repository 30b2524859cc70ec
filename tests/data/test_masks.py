"""From folders of masks to label maps: layouts, splits, and what is refused."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from masks import write_pair, write_segnet
from real import DATA, needs
from snellen.config import ConfigError
from snellen.data import DataError
from snellen.data.mask_formats import CAMVID_CLASSES, VOC_CLASSES, build_segmentation
from snellen.data.masks import LabelMap, MaskFile, MaskImages, SegmentationDataset
from snellen.images import ImageError, labels_size, read_labels


def images_of(root, **options):
    return build_segmentation("segnet", root, "train", **options)


# --- reading labels


def test_labels_are_indices_and_not_colours(tmp_path):
    indices = np.array([[0, 1, 255], [2, 1, 0]], dtype=np.uint8)
    palette = Image.fromarray(indices)
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    palette.save(tmp_path / "p.png")
    Image.fromarray(indices).save(tmp_path / "l.png")
    Image.fromarray(indices > 0).save(tmp_path / "one.png")
    for name in ("p.png", "l.png"):
        assert read_labels(tmp_path / name).tolist() == indices.tolist()
        assert labels_size(tmp_path / name) == (2, 3)
    assert read_labels(tmp_path / "one.png").tolist() == [[0, 1, 1], [1, 1, 0]]
    assert Image.open(tmp_path / "p.png").mode == "P"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_colours_and_wide_numbers_are_refused(tmp_path, mode):
    Image.new(mode, (3, 2)).save(tmp_path / "m.png")
    for read in (read_labels, labels_size):
        with pytest.raises(ImageError, match=rf"m\.png is a picture of mode {mode}, .*8-bit grey or palette PNG"):
            read(tmp_path / "m.png")


# --- the data set


def test_samples_hold_what_the_files_hold(tmp_path):
    labels = np.random.default_rng(5).integers(0, 12, (6, 8))
    write_pair(tmp_path / "train" / "a.png", tmp_path / "trainannot" / "a.png", labels, seed=3)
    write_segnet(tmp_path, {"val": 1})
    data = images_of(tmp_path)
    assert isinstance(data, SegmentationDataset)
    assert (data.names, len(data), data.ignore, data.classes) == (["train/a.png"], 1, 11, CAMVID_CLASSES)
    sample = data[0]
    assert isinstance(sample, LabelMap)
    assert sample.name == "train/a.png"
    assert sample.labels.dtype == sample.image.dtype == torch.uint8
    assert sample.labels.tolist() == labels.tolist()
    assert sample.image.permute(1, 2, 0).tolist() == np.array(Image.open(tmp_path / "train" / "a.png")).tolist()
    assert images_of(tmp_path, channels=1)[0].image.shape == (1, 6, 8)
    uncached = images_of(tmp_path, cache_mb=0)
    assert not uncached.fits
    assert torch.equal(uncached[0].labels, sample.labels)
    with pytest.raises(IndexError):
        data[1]


def test_a_label_outside_the_classes_is_refused_with_file_and_value(tmp_path):
    write_segnet(tmp_path, {"train": 2, "val": 1})
    mask = tmp_path / "trainannot" / "train01.png"
    wrong = np.zeros((6, 8), dtype=np.uint8)
    wrong[:2, 3] = 77
    Image.fromarray(wrong).save(mask)
    with pytest.raises(
        DataError, match=r"train01\.png holds label 77 at 2 pixels; .*0 to 10, and 11 for none"
    ) as error:
        images_of(tmp_path)
    assert "\n" not in str(error.value)
    assert images_of(tmp_path, on_error="skip").names == ["train/train00.png"]
    # What no cache holds is decoded when it is asked for.
    lazy = images_of(tmp_path, cache_mb=0)
    with pytest.raises(DataError, match="label 77"):
        lazy[1]


def test_broken_files_stop_or_are_skipped_and_counted(tmp_path, caplog):
    write_segnet(tmp_path, {"train": 5, "val": 1})
    (tmp_path / "trainannot" / "train00.png").unlink()
    (tmp_path / "train" / "train01.png").unlink()
    Image.new("L", (5, 5)).save(tmp_path / "trainannot" / "train02.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "trainannot" / "train03.png")
    with pytest.raises(DataError, match=r"train00\.png has no mask .*--on-error skip"):
        images_of(tmp_path)
    with caplog.at_level(logging.WARNING, logger="snellen"):
        data = images_of(tmp_path, on_error="skip")
    assert data.names == ["train/train04.png"]
    assert "skipped 4 files" in caplog.text
    sentences = " ".join(data.skipped)
    for part in ("has no mask", "has no image", "is 5 x 5 pixels but", "mode RGB"):
        assert part in sentences
    (tmp_path / "trainannot" / "train04.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no usable image is left"):
        images_of(tmp_path, on_error="skip")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ignore": 3}, "ignore=3 is not possible beside 11 classes"),
        ({"classes": ["sky", "sky"]}, "each once"),
        ({"val_share": 1.0}, "between 0 and 1"),
        ({"channels": 2}, "channels=2"),
    ],
)
def test_impossible_arguments_are_one_sentence(tmp_path, options, says):
    write_segnet(tmp_path, {"train": 2, "val": 1}, classes=2)
    with pytest.raises(ConfigError, match=says) as error:
        images_of(tmp_path, **options)
    assert "\n" not in str(error.value)


def test_unknown_formats_splits_and_folders(tmp_path):
    with pytest.raises(ConfigError, match="nearest: segnet"):
        build_segmentation("segnett", tmp_path, "train")
    with pytest.raises(ConfigError, match="nearest: val"):
        build_segmentation("segnet", tmp_path, "vall")
    with pytest.raises(DataError, match="is not a folder; give the path"):
        build_segmentation("segnet", tmp_path / "none", "train")
    with pytest.raises(DataError, match="images need a folder of masks"):
        build_segmentation("segnet", tmp_path, "train")
    file = MaskFile("a", tmp_path / "a.png", tmp_path / "b.png")
    with pytest.raises(ValueError, match="give 1 to 255 names"):
        MaskImages([file], [str(i) for i in range(256)], ignore=None, source="x")


# --- layouts and splits


def test_segnet_folders_are_the_splits(tmp_path):
    write_segnet(tmp_path, {"train": 3, "val": 2, "test": 4})
    found = [build_segmentation("segnet", tmp_path, split) for split in ("train", "val", "test")]
    assert [len(data) for data in found] == [3, 2, 4]
    assert found[2].names[0] == "test/test00.png"


def test_held_out_images_do_not_depend_on_the_others(tmp_path):
    write_segnet(tmp_path, {"train": 40})
    train, val = (set(build_segmentation("segnet", tmp_path, s, val_share=0.3).names) for s in ("train", "val"))
    assert not train & val
    assert len(train | val) == 40
    assert 5 <= len(val) <= 20
    for name in sorted(train)[:10]:
        (tmp_path / name).unlink()
        (tmp_path / name.replace("train/", "trainannot/")).unlink()
    assert set(build_segmentation("segnet", tmp_path, "val", val_share=0.3).names) == val


def test_folders_of_images_and_masks(tmp_path):
    flat = tmp_path / "flat"
    for i in range(30):
        write_pair(flat / "images" / f"{i}.jpg", flat / "masks" / f"{i}.png", [[0, 1], [255, 1]], i)
    with pytest.raises(ConfigError, match=r"classes\.txt"):
        build_segmentation("masks", flat, "train")
    (flat / "classes.txt").write_text("ground\nroot\n\n")
    train, val = (build_segmentation("masks", flat, s, val_share=0.3) for s in ("train", "val"))
    assert train.classes == ("ground", "root")
    assert train.ignore == 255
    assert len(train) + len(val) == 30
    assert not set(train.names) & set(val.names)
    with pytest.raises(ConfigError, match="no test split"):
        build_segmentation("masks", flat, "test")
    # A root with folders of splits uses them.
    split = tmp_path / "split"
    for name, count in (("train", 3), ("val", 2), ("test", 1)):
        for i in range(count):
            write_pair(split / name / "images" / f"{i}.png", split / name / "masks" / f"{i}.png", [[0, 1]], i)
    sizes = [len(build_segmentation("masks", split, s, classes=["a", "b"])) for s in ("train", "val", "test")]
    assert sizes == [3, 2, 1]
    (split / "train" / "images" / "0.jpg").write_bytes(b"another")
    with pytest.raises(DataError, match="called the same"):
        build_segmentation("masks", split, "train", classes=["a", "b"])


def write_voc(root, lists):
    lists_folder = root / "ImageSets" / "Segmentation"
    lists_folder.mkdir(parents=True)
    for name, stems in lists.items():
        (lists_folder / f"{name}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            write_pair(root / "JPEGImages" / f"{stem}.jpg", root / "SegmentationClass" / f"{stem}.png", [[0, 20, 255]])
    return root


def test_voc_lists_are_the_splits(tmp_path):
    root = write_voc(tmp_path / "VOCdevkit" / "VOC2012", {"train": ["a", "b"], "val": ["c"], "trainaug": ["a", "d"]})
    for start in (root, tmp_path, tmp_path / "VOCdevkit"):
        assert build_segmentation("voc", start, "train").names == ["a", "b"]
    val = build_segmentation("voc", root, "val")
    assert (val.names, val.classes, val.ignore) == (["c"], VOC_CLASSES, 255)
    assert val[0].labels.tolist() == [[0, 20, 255]]
    assert build_segmentation("voc", root, "train", train_list="trainaug").names == ["a", "d"]
    # VOC's own validation list as the test, part of the training list as validation.
    assert build_segmentation("voc", root, "test", val_list=None, test_list="val").names == ["c"]
    with pytest.raises(
        DataError, match=r"test\.txt does not exist; lists there are: train, trainaug, val; .*test_list"
    ):
        build_segmentation("voc", root, "test")
    (root / "SegmentationClass" / "b.png").unlink()
    with pytest.raises(DataError, match=r"train\.txt, row 2: .*b\.png does not exist"):
        build_segmentation("voc", root, "train")
    assert build_segmentation("voc", root, "train", on_error="skip").names == ["a"]
    with pytest.raises(DataError, match="no JPEGImages"):
        build_segmentation("voc", root / "JPEGImages", "train")


def test_voc_validation_can_be_held_out_of_the_training_list(tmp_path):
    stems = [f"2007_{i:06d}" for i in range(30)]
    root = write_voc(tmp_path, {"train": stems})
    options = {"val_list": None, "val_share": 0.3}
    train, val = (build_segmentation("voc", root, s, **options).names for s in ("train", "val"))
    assert sorted(train + val) == stems
    assert 3 <= len(val) <= 18


@needs("camvid")
def test_real_camvid():
    sizes = []
    for split in ("train", "val", "test"):
        data = build_segmentation("segnet", DATA / "camvid", split, cache_mb=0)
        sizes.append(len(data))
        sample = data[len(data) // 2]
        assert sample.image.shape == (3, 360, 480)
        assert sample.labels.shape == (360, 480)
    assert sizes == [367, 101, 233]
    # The horizon's order: sky lies above the road.
    rows = torch.arange(360.0)[:, None].expand(360, 480)
    assert rows[sample.labels == 0].mean() < 180 < rows[sample.labels == 3].mean()
