"""Labelled pictures: readers, broken files, splits."""

import io
import json
import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from real import DATA, needs
from snellen.config import ConfigError
from snellen.data import (
    ClassFolders,
    ClassificationDataset,
    DataError,
    ParquetImages,
    TorchvisionCIFAR,
    build_classification,
)
from snellen.data.splits import held_out

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def picture(value, size=(6, 5)):
    rng = np.random.default_rng(value)
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def write_folder(root, counts, suffix="png"):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(picture(len(name) * 100 + i)).save(root / name / f"{name} {i:02d}.{suffix}")
    return root


def encoded(pixels, kind="PNG"):
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind)
    return stored.getvalue()


def write_parquet(path, rows, metadata=None, columns=("image", "label")):
    """Rows of (bytes or None, path, label)."""
    images = pa.array(
        [{"bytes": b, "path": p} for b, p, _ in rows], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    table = pa.table({columns[0]: images, columns[1]: pa.array([label for *_, label in rows], pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


class ReaderContract:
    """Sized, indexable, the same at every look, each name once."""

    def make(self, root):
        raise NotImplementedError

    def test_reader(self, tmp_path):
        data = self.make(tmp_path)
        assert isinstance(data, ClassificationDataset)
        assert len(data) == len(data.names) == len(set(data.names)) == len(data.labels) > 0
        for i in range(len(data)):
            item = data[i]
            assert (item.name, item.label) == (data.names[i], data.labels[i])
            assert item.image.dtype == torch.uint8
            assert item.image.shape[0] == 3
            assert 0 <= item.label < len(data.classes)
            assert torch.equal(item.image, data[i].image)
        with pytest.raises(IndexError):
            data[len(data)]

    def test_pixels_and_labels_are_those_written(self, tmp_path):
        data = self.make(tmp_path)
        for i, (pixels, name) in enumerate(self.truth()):
            assert data.classes[data[i].label] == name
            np.testing.assert_array_equal(data[i].image.permute(1, 2, 0).numpy(), pixels)


class TestFolders(ReaderContract):
    def make(self, root):
        (write_folder(root / "train", {"b": 2, "aa": 1, "c": 0}) / "b" / "list.txt").write_text("no picture")
        return ClassFolders(root / "train")

    def truth(self):
        return [(picture(200), "aa"), (picture(100), "b"), (picture(101), "b")]


class TestParquet(ReaderContract):
    def make(self, root):
        rows = [(encoded(picture(i)), f"{i}.png", i % 3) for i in range(5)]
        first = write_parquet(root / "train-0.parquet", rows[:3])
        return ParquetImages([first, write_parquet(root / "train-1.parquet", rows[3:])])

    def truth(self):
        return [(picture(i), str(i % 3)) for i in range(5)]


class TestCifar(ReaderContract):
    def make(self, root, **options):
        """Files as torchvision's download leaves them, but for their checksums."""
        from torchvision import datasets

        (root / "cifar-100-python").mkdir()
        pixels = np.stack([picture(i, (32, 32)) for i in range(4)])
        rows = {"data": pixels.transpose(0, 3, 1, 2).reshape(4, -1), "fine_labels": [1, 0, 1, 1]}
        for name, content in (("train", rows), ("test", rows), ("meta", {"fine_label_names": ["no", "yes"]})):
            (root / "cifar-100-python" / name).write_bytes(pickle.dumps(content))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets.CIFAR100, "_check_integrity", lambda _: True)
            patch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
            return TorchvisionCIFAR(root, "cifar100", train=True, **options)

    def truth(self):
        return [(picture(i, (32, 32)), name) for i, name in enumerate(("yes", "no", "yes", "yes"))]

    def test_grey(self, tmp_path):
        luma = (picture(0, (32, 32)) * [0.299, 0.587, 0.114]).sum(-1)
        grey = self.make(tmp_path, channels=1)[0].image
        assert grey.shape == (1, 32, 32)
        assert np.abs(grey[0].numpy() - luma).max() <= 0.51

    def test_missing_is_told_how_to_download(self, tmp_path):
        with pytest.raises(DataError, match=r"fetch it with: python -c .*CIFAR10.*download=True") as error:
            build_classification("cifar10", tmp_path, "train")
        assert "\n" not in str(error.value)


# --- broken files


def broken_folder(root):
    write_folder(root, {"a": 2, "b": 3})
    (root / "a" / "a 00.png").write_bytes(b"")
    sound = root / "b" / "b 01.png"
    sound.write_bytes(sound.read_bytes()[:-40])
    return root


def test_a_broken_file_stops_with_its_path(tmp_path):
    with pytest.raises(DataError, match=r"a 00\.png is empty .*--on-error skip") as error:
        ClassFolders(broken_folder(tmp_path))
    assert "\n" not in str(error.value)


def test_broken_files_are_skipped_and_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="snellen"):
        data = ClassFolders(broken_folder(tmp_path), on_error="skip")
    assert data.names == ("a/a 01.png", "b/b 00.png", "b/b 01.png", "b/b 02.png")
    assert "skipped 1 files" in caplog.text
    third = data[3]
    data.decode_all()  # finds the one whose pixels are cut off behind a good header
    assert data.names == ("a/a 01.png", "b/b 00.png", "b/b 02.png")
    assert data.labels == (0, 1, 1)
    assert torch.equal(data[2].image, third.image)
    assert len(data.skipped) == 2


def test_the_cache_is_bounded(tmp_path):
    write_folder(tmp_path, {"a": 1, "b": 1})
    file = tmp_path / "a" / "a 00.png"
    bare, cached = ClassFolders(tmp_path, cache_mb=0), ClassFolders(tmp_path, cache_mb=1)
    first = [data[0].image.clone() for data in (bare, cached)]
    assert (bare.fits, cached.fits) == (False, True)
    Image.fromarray(picture(7)).save(file)
    assert not torch.equal(bare[0].image, first[0])
    assert torch.equal(cached[0].image, first[1])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((b"no picture", "x.png", 0), "row 1 is not a picture"),
        ((None, "x.png", 0), "row 1 holds no image"),
        ((b"", "x.png", 0), "row 1 is empty"),
        ((None, "x.png", None), "row 1 has no label"),
        ((b"", "x.png", -1), "row 1 has label -1, but labels are 0 to 2"),
    ],
)
def test_a_broken_row_is_told_with_file_and_row(tmp_path, row, says):
    good = (encoded(picture(0)), "good.png", 2)
    file = write_parquet(tmp_path / "train-0.parquet", [good, row, good])
    with pytest.raises(DataError, match=says) as error:
        ParquetImages([file])
    assert "train-0.parquet" in str(error.value)
    assert "\n" not in str(error.value)
    if row[2] is not None:
        assert len(ParquetImages([file], on_error="skip")) == 2


# --- class names and columns


def hub_metadata(names):
    features = {"tag": {"feature": {"names": names, "_type": "ClassLabel"}}}
    flat = {"label": {"names": names, "_type": "ClassLabel"}, **features}
    return {"huggingface": json.dumps({"info": {"features": flat}})}


def test_class_names_of_parquet_files(tmp_path):
    rows = [(encoded(picture(0)), None, 2), (encoded(picture(1)), None, 0)]
    file = write_parquet(tmp_path / "train-0.parquet", rows)
    assert ParquetImages([file]).classes == ("0", "1", "2")
    file = write_parquet(file, rows, hub_metadata(["x", "y", "z"]))
    assert ParquetImages([file]).classes == ("x", "y", "z")
    (tmp_path / "classes.json").write_text('["p", "q", "r"]')
    data = ParquetImages([file])
    assert data.classes == ("p", "q", "r")
    assert data.names == ("train-0/000000", "train-0/000001")
    (tmp_path / "classes.json").write_text('{"p": 1}')
    with pytest.raises(DataError, match="must hold a list of class names"):
        ParquetImages([file])


def test_images_of_one_path_get_different_names(tmp_path):
    rows = [(encoded(picture(i)), "same.png", 0) for i in range(3)]
    assert ParquetImages([write_parquet(tmp_path / "a.parquet", rows)]).names == (
        "same.png",
        "same.png#2",
        "same.png#3",
    )


def test_columns_are_found_by_type_or_named(tmp_path):
    row = {"bytes": encoded(picture(0)), "path": "a.png"}
    table = pa.table({"id": [7], "picture": [row], "coarse_label": [1], "fine_label": [0], "note": ["x"]})
    pq.write_table(table, tmp_path / "train-0.parquet")
    files = [tmp_path / "train-0.parquet"]
    assert ParquetImages(files).labels == (0,)
    assert ParquetImages(files, label="coarse_label").labels == (1,)
    with pytest.raises(
        DataError, match=r"no column 'note' of whole numbers for the label; its columns are id \(int64\)"
    ):
        ParquetImages(files, label="note")
    with pytest.raises(DataError, match="no column 'fine_label' of a struct"):
        ParquetImages(files, image="fine_label", classes=["a"])
    pq.write_table(table.drop(["fine_label", "coarse_label"]).append_column("size", [[3]]), files[0])
    with pytest.raises(DataError, match="2 columns of whole numbers"):
        ParquetImages(files)
    (tmp_path / "no.parquet").write_text("text")
    with pytest.raises(DataError, match="cannot be read as a parquet file"):
        ParquetImages([tmp_path / "no.parquet"])


# --- splits


def test_the_share_is_drawn_by_name_alone(tmp_path):
    root = write_folder(tmp_path / "train", {"a": 40, "b": 40}).parent
    train, val = (build_classification("folders", root, split, val_share=0.25) for split in ("train", "val"))
    assert len(train) + len(val) == 80
    assert not set(train.names) & set(val.names)
    assert 10 <= len(val) <= 30
    assert all(held_out(name, 0.25) for name in val.names)
    for i in range(0, 40, 2):
        (root / "train" / "a" / f"a {i:02d}.png").unlink()
    assert set(build_classification("folders", root, "val", val_share=0.25).names) < set(val.names)
    assert len(build_classification("folders", root, "train", val_share=0)) == 60


def test_parts_by_name_and_a_test_without_some_classes(tmp_path):
    write_folder(tmp_path / "train", {"a": 1, "b": 2, "c": 1})
    write_folder(tmp_path / "val", {"c": 2, "b": 1})
    data = build_classification("folders", tmp_path, "test", test="val")
    assert data.classes == ("a", "b", "c")
    assert data.labels == (1, 2, 2)
    assert len(build_classification("folders", tmp_path, "train", val="val")) == 4
    assert len(build_classification("folders", tmp_path, "val", val="val")) == 3
    # A severity of ImageNet-C is a root of its own.
    corrupted = write_folder(tmp_path / "fog" / "3", {"c": 1})
    assert build_classification("folders", corrupted, "test", test=".", classes=data.classes).labels == (2,)
    write_folder(tmp_path / "val", {"d": 1})
    with pytest.raises(DataError, match="a folder 'd', which is none of the 3 classes"):
        build_classification("folders", tmp_path, "test", test="val")


def test_shards_of_parts_share_the_class_names(tmp_path):
    rows = [(encoded(picture(i)), f"{i}.png", i) for i in range(4)]
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows[1:2])
    test = build_classification("parquet", tmp_path, "test")
    assert test.classes == ("0", "1", "2", "3")  # the largest label of the test alone is 1
    assert test[0].label == 1
    with pytest.raises(DataError, match=r"holds no validation-\*\.parquet"):
        build_classification("parquet", tmp_path, "val", val="validation")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("folder", "/nowhere", "train"), ConfigError, "nearest: folders"),
        (("folders", "/nowhere", "train"), DataError, "/nowhere is not a folder"),
        (("folders", ".", "tset"), ConfigError, "nearest: test"),
    ],
)
def test_wrong_settings_are_one_sentence(arguments, error, says):
    with pytest.raises(error, match=says) as raised:
        build_classification(*arguments)
    assert "\n" not in str(raised.value)


def test_wrong_shares_and_parts(tmp_path):
    with pytest.raises(ConfigError, match="val_share is 1"):
        build_classification("folders", tmp_path, "train", val_share=1)
    with pytest.raises(ConfigError, match="no val split"):
        build_classification("folders", tmp_path, "val", val_share=0)
    with pytest.raises(ConfigError, match="has no part 'val'"):
        build_classification("cifar10", tmp_path, "val", val="val")
    with pytest.raises(DataError, match="has no folders in it"):
        ClassFolders(tmp_path)


@needs("cifar100")
def test_real_cifar100():
    root = DATA / "cifar100"
    train, val, test = (build_classification("parquet", root, s, cache_mb=0) for s in ("train", "val", "test"))
    assert (len(train) + len(val), len(test)) == (25_000, 10_000)
    assert not set(train.names) & set(val.names)
    assert abs(len(val) / 25_000 - 0.1) < 0.01
    assert train.classes == val.classes == test.classes
    assert len(test.classes) == 100
    assert np.bincount(test.labels).tolist() == [100] * 100  # balanced, as it is known
    assert test[0].image.shape == (3, 32, 32)
    assert float(torch.stack([test[i].image for i in range(300)]).float().std()) > 40
