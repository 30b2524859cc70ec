"""From files and samples to batches: splits, boxes, augmentation, order."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snellen.config import AugmentConfig, ConfigError, DataConfig
from snellen.data import (
    AnnotatedImages,
    CanvasDataset,
    DataError,
    Sample,
    StepBatches,
    build_dataset,
    evaluation_loader,
    training_loader,
)
from snellen.data.boxes import face5_box, make_box, square_box
from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema, get_schema
from snellen.keypoints.formats import Annotation
from tiny import write_discs

PAIR = Schema("pair", ("left", "right"), swaps=(("left", "right"),))
EVERYTHING = AugmentConfig(
    shift=0.1, scale=(0.8, 1.2), stretch=(0.8, 1.2), rotate=40, flip=0.5, tight=(0.9, 1.1), tight_probability=0.5,
    rectangle_probability=0.5, brightness=0.2, contrast=0.2, blur_probability=0.5, coarse_probability=0.5, noise=8,
)  # fmt: skip
MOVES = AugmentConfig(shift=0.1, scale=(0.8, 1.2), stretch=(0.8, 1.2), rotate=40, flip=0.5)
FACES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "faces5"


class Blobs:
    """RGB images whose first channel shows the left point and whose last channel shows the right one."""

    schema = PAIR

    def __init__(self, count=20, size=160):
        self.count, self.size, self.names = count, size, [f"blob {i}" for i in range(count)]

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        # Near the middle, so that no change pushes a blob over the canvas's border.
        xy = np.array([self.size / 2, self.size / 2]) + rng.uniform(-10, 10, (2, 2))
        centres = np.arange(self.size) + 0.5
        image = torch.zeros(3, self.size, self.size, dtype=torch.uint8)
        for channel, (x, y) in zip((0, 2), xy, strict=True):
            bump = 250 * np.exp(-((centres - x) ** 2 + (centres[:, None] - y) ** 2) / (2 * 5.0**2))
            image[channel] = torch.from_numpy(np.rint(bump).astype(np.uint8))
        return Sample(
            image, Keypoints.visible(xy, PAIR), Box(0, 0, float(self.size), float(self.size)), self.names[index]
        )


def centroid(channel):
    mass = channel.double()
    x, y = torch.arange(mass.shape[1]) + 0.5, torch.arange(mass.shape[0]) + 0.5
    return torch.stack(((mass.sum(0) * x).sum(), (mass.sum(1) * y).sum())) / mass.sum()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


# --- augmentation


def test_a_draw_depends_on_seed_epoch_and_index_alone():
    one, other = (CanvasDataset(Blobs(), (80, 80), EVERYTHING, seed=3) for _ in range(2))
    first = one[2, 5]
    # Another order, other draws in between, and global generators moved.
    for key in ((0, 5), (7, 1), (2, 4)):
        other[key]
    torch.manual_seed(99)
    np.random.seed(99)
    assert same(first, other[2, 5])
    assert not same(first, one[3, 5])
    assert not same(first, CanvasDataset(Blobs(), (80, 80), EVERYTHING, seed=4)[2, 5])


def test_different_images_get_different_changes():
    class Same(Blobs):
        def __getitem__(self, index):
            return super().__getitem__(0)

    data = CanvasDataset(Same(), (80, 80), EVERYTHING)
    assert not same(data[0, 1], {**data[0, 2], "index": torch.tensor(1)})


def test_validation_draws_are_the_same_every_time():
    data = CanvasDataset(Blobs(), (80, 80), EVERYTHING)
    first, matrix = data[4], data[4]["matrix"]
    data[5]
    assert same(first, data[4])
    assert not torch.equal(matrix, data[5]["matrix"])


@pytest.mark.parametrize("tight_probability", [0.0, 1.0])
def test_image_and_points_move_together(tight_probability):
    moves = AugmentConfig(**{**vars(MOVES), "tight": (0.8, 1.2), "tight_probability": tight_probability})
    data = CanvasDataset(Blobs(), (80, 96), moves)
    mirrored = []
    for index in range(len(data)):
        item = data[0, index]
        mirrored.append(bool(torch.linalg.det(item["matrix"]) < 0))
        # In a mirror the left point of the picture is the former right one: the blob of the last channel.
        channels = (2, 0) if mirrored[-1] else (0, 2)
        for point, channel in zip(item["xy"], channels, strict=True):
            assert (centroid(item["image"][channel]) - point).norm() < 0.05
        assert item["mask"].all()
    assert 0 < sum(mirrored) < len(mirrored)


def test_the_matrix_leads_back_to_the_image():
    data = CanvasDataset(Blobs(), (80, 80), MOVES)
    item, sample = data[0, 3], Blobs()[3]
    back = torch.linalg.inv(item["matrix"]) @ torch.cat((item["xy"].double(), torch.ones(2, 1)), 1).T
    mirrored = torch.linalg.det(item["matrix"]) < 0
    expected = sample.keypoints.xy[[1, 0]] if mirrored else sample.keypoints.xy
    np.testing.assert_allclose(back[:2].T, expected, atol=1e-3)


def test_no_change_shows_the_box():
    image, xy = torch.randint(0, 256, (1, 60, 90), dtype=torch.uint8), [[40.0, 30.0], [50.0, 35.0]]

    class One(Blobs):
        def __getitem__(self, index):
            return Sample(image, Keypoints.visible(xy, PAIR), Box(20, 10, 60, 50), "one")

    item = CanvasDataset(One(1), (40, 40), AugmentConfig())[0]
    torch.testing.assert_close(item["image"], image[:, 10:50, 20:60].float(), atol=0.02, rtol=0)
    torch.testing.assert_close(item["xy"], torch.tensor([[20.0, 20.0], [30.0, 25.0]]))


def test_the_ranges_are_kept():
    data = CanvasDataset(Blobs(1), (80, 80), AugmentConfig(shift=0.1, scale=(0.8, 1.2), rotate=30))
    maps = torch.stack([data[epoch, 0]["matrix"] for epoch in range(150)])
    factor = torch.linalg.det(maps[:, :2, :2]).sqrt() * 2  # the box of 160 fills 80 at scale 1
    angle = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 0, 0]))
    # Reached to within a tenth of the range, and never left.
    assert 0.8 <= factor.min() < 0.84
    assert 1.16 < factor.max() <= 1.2
    assert -30 <= angle.min() < -24
    assert 24 < angle.max() <= 30
    # The image point at the canvas's centre is the box's centre, moved by a tenth of the side at most.
    centre = (torch.linalg.inv(maps) @ torch.tensor([40.0, 40.0, 1.0], dtype=torch.float64))[:, :2] - 80
    assert 14 < centre.abs().max() <= 16


def test_the_rectangle_has_the_papers_sides_and_lies_inside():
    class White(Blobs):
        def __getitem__(self, index):
            white = torch.full((1, 80, 80), 255, dtype=torch.uint8)
            return Sample(white, Keypoints.visible([[1.0, 1.0]] * 2, PAIR), Box(0, 0, 80, 80), "white")

    data = CanvasDataset(White(), (80, 80), AugmentConfig(rectangle_probability=1))
    heights, widths, tops = [], [], []
    for epoch in range(300):
        black = data[epoch, 0]["image"][0] < 1
        rows, columns = black.any(1).nonzero()[:, 0], black.any(0).nonzero()[:, 0]
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert black.sum() == height * width  # one whole rectangle
        heights, widths, tops = [*heights, height], [*widths, width], [*tops, int(rows[0])]
    for sides in (heights, widths):
        # rcn.md 3.5: 20 to 50 of 80; a rectangle cut by the border would come out below 20.
        assert 20 <= min(sides) < 24
        assert 46 < max(sides) <= 50
    assert heights != widths
    assert min(tops) == 0


def test_photometric_changes_move_no_point_and_stay_in_range():
    plain, changed = (CanvasDataset(Blobs(6), (80, 80), a) for a in (AugmentConfig(), AugmentConfig(
        brightness=0.5, contrast=0.5, blur_probability=1, coarse=(2, 3), coarse_probability=1, noise=40,
    )))  # fmt: skip
    for i in range(6):
        a, b = plain[0, i], changed[0, i]
        assert torch.equal(a["xy"], b["xy"])
        assert torch.equal(a["matrix"], b["matrix"])
        assert b["image"].min() >= 0
        assert b["image"].max() <= 255
        assert (a["image"] - b["image"]).abs().max() > 1


def test_points_off_the_canvas_are_labelled_but_not_in_the_mask():
    xy = [[10.0, 10.0], [70.0, 10.0], [np.nan, np.nan], [60.0, 0.0]]
    schema = Schema("four", ("a", "b", "c", "d"))

    class One(Blobs):
        def __getitem__(self, index):
            image = torch.zeros(1, 80, 80, dtype=torch.uint8)
            return Sample(image, Keypoints.visible(xy, schema), Box(0, 0, 60, 60), "one")

    batch = next(iter(evaluation_loader(CanvasDataset(One(1), (60, 60), AugmentConfig()), 1)))
    assert batch.labelled.tolist() == [[True, True, False, True]]
    # The last one lies on the border, which belongs to the canvas.
    assert batch.mask.tolist() == [[True, False, False, True]]
    assert torch.isfinite(batch.xy).all()
    assert batch.xy[0, 1].tolist() == [70.0, 10.0]  # a metric still needs it


# --- order


def sequence(*args, **options):
    return list(StepBatches(*args, **options))


def test_every_image_once_an_epoch():
    # 40 positions of 10 images are 4 epochs, though no batch of 4 ends with one.
    flat = [key for batch in sequence(10, 4, 10, seed=1) for key in batch]
    for epoch in range(4):
        assert sorted(i for e, i in flat if e == epoch) == list(range(10))
    orders = [[i for e, i in flat if e == epoch] for epoch in range(4)]
    assert len({tuple(o) for o in orders}) == 4
    assert [e for e, _ in flat] == sorted(e for e, _ in flat)


def test_batches_larger_than_the_data():
    batches = sequence(3, 8, 3)
    assert [len(b) for b in batches] == [8, 8, 8]
    flat = [key for batch in batches for key in batch]
    assert len(set(flat)) == 24  # never the same draw twice
    assert all(sorted(i for e, i in flat if e == epoch) == [0, 1, 2] for epoch in range(8))


@pytest.mark.parametrize("start", [1, 4, 9])
def test_a_later_start_goes_on_with_the_same_sequence(start):
    assert sequence(10, 4, 12, seed=1, start=start) == sequence(10, 4, 12, seed=1)[start:]


def test_another_seed_is_another_order():
    assert sequence(10, 4, 5, seed=1) != sequence(10, 4, 5, seed=2)
    assert sequence(10, 4, 5, seed=1) == sequence(10, 4, 5, seed=1)


def test_processes_share_every_batch():
    whole = sequence(10, 6, 7, seed=1)
    parts = [sequence(10, 6, 7, seed=1, rank=rank, world=3) for rank in range(3)]
    for step, batch in enumerate(whole):
        shares = [part[step] for part in parts]
        assert [len(s) for s in shares] == [2, 2, 2]
        assert sorted(key for s in shares for key in s) == sorted(batch)
    with pytest.raises(ValueError, match="cannot be shared by 4 devices"):
        StepBatches(10, 6, 7, world=4)


def test_workers_change_nothing():
    data, batches = CanvasDataset(Blobs(8, size=40), (16, 16), EVERYTHING), StepBatches(8, 4, 3)
    alone = list(training_loader(data, batches))
    helped = list(training_loader(data, batches, workers=2))
    assert len(alone) == len(helped) == 3
    assert all(same(vars(a), vars(b)) for a, b in zip(alone, helped, strict=True))


# --- files


def broken_discs(root):
    """Five annotations: one missing file, one that is no picture, one whose pixels are cut off, two sound."""
    write_discs(root, 5)
    (root / "disc 00.png").unlink()
    (root / "disc 01.png").write_text("no picture")
    sound = root / "disc 02.png"
    sound.write_bytes(sound.read_bytes()[:-60])
    pair = Schema("discs", ("bright", "dark"))
    return [
        Annotation(f"disc {i:02d}.png", Keypoints.visible([[10.0 + i, 10.0], [20.0, 20.0]], pair), i + 2)
        for i in range(5)
    ]


def test_a_broken_file_stops_with_file_and_row(tmp_path):
    with pytest.raises(DataError, match=r"list\.csv, row 2: .*disc 00\.png does not exist.*--on-error skip") as e:
        AnnotatedImages(broken_discs(tmp_path), tmp_path, source="list.csv")
    assert "\n" not in str(e.value)


def test_broken_files_are_skipped_and_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="snellen"):
        data = AnnotatedImages(broken_discs(tmp_path), tmp_path, source="list.csv", on_error="skip")
    assert [Path(n).name for n in data.names] == ["disc 02.png", "disc 03.png", "disc 04.png"]
    assert "skipped 2 files" in caplog.text
    assert "disc 00.png" in caplog.text
    # The header of the third is whole; decoding finds it, and the others keep their own images and points.
    before = data[2]
    data.decode_all()
    assert [Path(n).name for n in data.names] == ["disc 03.png", "disc 04.png"]
    assert len(data.skipped) == 3
    assert torch.equal(data[1].image, before.image)
    np.testing.assert_array_equal(data[1].keypoints.xy, before.keypoints.xy)
    assert not torch.equal(data[0].image, before.image)


def test_nothing_left_is_refused(tmp_path):
    with pytest.raises(DataError, match="no usable image is left"):
        AnnotatedImages(broken_discs(tmp_path)[:2], tmp_path, source="list.csv", on_error="skip")


def test_a_file_that_breaks_later_is_reported_with_its_row(tmp_path):
    data = AnnotatedImages(broken_discs(tmp_path)[3:], tmp_path, source="list.csv")
    (tmp_path / "disc 04.png").unlink()
    assert data[0].name == "disc 03.png"
    with pytest.raises(DataError, match=r"list\.csv, row 6: .*disc 04\.png"):
        data[1]


def test_the_cache_is_bounded(tmp_path):
    data = AnnotatedImages(broken_discs(tmp_path)[3:], tmp_path, source="list.csv", cache_mb=0)
    first = data[0].image.clone()
    # Without room every access decodes anew, and a changed file shows.
    Image.new("L", (48, 48), 7).save(tmp_path / "disc 03.png")
    assert not torch.equal(data[0].image, first)
    cached = AnnotatedImages(data.annotations, tmp_path, source="list.csv")
    first = cached[0].image.clone()
    Image.new("L", (48, 48), 200).save(tmp_path / "disc 03.png")
    assert torch.equal(cached[0].image, first)


# --- boxes


def face(nose=(60, 60)):
    return Keypoints.visible([[40, 40], [80, 40], nose, [45, 90], [75, 90]], get_schema("mtfl-5"))


def test_the_face_box_by_hand():
    # rcn.md 3.4: extent 40 x 50, so a square of 50 about (60, 65), grown on each side by 0.95 times
    # max(eye distance 40, eyes' centre to mouth's centre 50): half a side is 25 + 47.5.
    box = face5_box(face(), 0.95, 10_000, 10_000)
    assert box.width == box.height == pytest.approx(145)
    # Over the left and top border, so it is moved in without shrinking.
    np.testing.assert_allclose(box, (0, 0, 145, 145))
    np.testing.assert_allclose(face5_box(face(), 0.2, 10_000, 10_000), (25, 30, 95, 100))
    np.testing.assert_allclose(face5_box(face(), 0.95, 100, 120), (0, 0, 100, 120))
    # The nose does not enter.
    assert face5_box(face(nose=(500, 500)), 0.95, 10_000, 10_000) == box


def test_the_face_box_takes_the_larger_distance():
    # Eyes 60 apart, mouth 30 below: a square of 60 about (50, 35), grown by half of 60.
    wide = Keypoints.visible([[20, 20], [80, 20], [50, 30], [40, 50], [60, 50]], get_schema("mtfl-5"))
    np.testing.assert_allclose(face5_box(wide, 0.5, 1000, 1000), (0, 0, 120, 120))
    np.testing.assert_allclose(face5_box(wide.transformed(np.array([[1.0, 0, 100], [0, 1, 100], [0, 0, 1]])), 0.5, 1000, 1000),
                               (90, 75, 210, 195))  # fmt: skip


def test_the_square_box_by_hand():
    # Extent 20 x 10 about (20, 15), 1.3 times as large; it may reach outside.
    points = Keypoints.visible([[10.0, 10.0], [30.0, 20.0]], PAIR)
    np.testing.assert_allclose(square_box(points, 1.3), (7, 2, 33, 28))
    np.testing.assert_allclose(square_box(points, 4), (-20, -25, 60, 55))
    one = Keypoints.visible([[10.0, 10.0], [np.nan, np.nan]], PAIR)
    assert square_box(one, 2.0).width > 0


def test_the_image_box():
    assert make_box("image", face(), 1.0, 200, 100) == Box(0, 0, 200, 100)
    assert make_box("image", face(), 0.5, 200, 100) == Box(50, 25, 150, 75)


def test_a_box_that_needs_missing_points_says_so_with_file_and_row(tmp_path):
    Image.new("L", (200, 200)).save(tmp_path / "f.png")
    half = Keypoints.visible([[40, 40], [np.nan, np.nan], [60, 60], [45, 90], [75, 90]], get_schema("mtfl-5"))
    data = AnnotatedImages([Annotation("f.png", half, 9)], tmp_path, source="l.txt", box="mtfl", box_scale=0.95)
    with pytest.raises(DataError, match=r"l\.txt, row 9: f\.png: .*both eyes"):
        data[0]


# --- splits


def mtfl(root, people=30):
    """An MTFL tree with two or three pictures of each person."""
    rows = []
    (root / "lfw").mkdir(parents=True)
    for i in range(people * 5 // 2):
        name = f"lfw/Person{i % people:02d}_Smith_{i // people + 1:04d}.png"
        Image.new("L", (80, 80), i).save(root / name)
        rows.append(f"{name} 20 40 30 25 35 20 21 30 45 46 1 1 1 1")
    (root / "training.txt").write_text("\n".join(rows))
    (root / "testing.txt").write_text("\n".join(rows[:3]))
    return root


def person(name):
    return Path(name).stem.rsplit("_", 1)[0]


def test_people_are_in_one_split_only(tmp_path):
    config = DataConfig(format="mtfl", root=str(mtfl(tmp_path)), val_share=0.3, box="mtfl")
    train, val = build_dataset(config, "train"), build_dataset(config, "val")
    assert len(train) + len(val) == 75
    assert not {person(n) for n in train.names} & {person(n) for n in val.names}
    # 30 people at 0.3: a split that leaves one side nearly empty would not be random.
    assert 4 <= len({person(n) for n in val.names}) <= 15
    assert len(build_dataset(config, "test")) == 3


def test_the_csv_split_does_not_depend_on_the_order(tmp_path):
    config = DataConfig(format="csv", root=str(write_discs(tmp_path, 24)), val_share=0.25, test_annotations="test.csv")
    train, val = set(build_dataset(config, "train").names), set(build_dataset(config, "val").names)
    assert not train & val
    assert len(train | val) == 24
    header, *rows = (tmp_path / "annotations.csv").read_text().splitlines()
    (tmp_path / "annotations.csv").write_text("\n".join([header, *reversed(rows), "new.png,1,2,3,4"]))
    Image.new("L", (48, 48)).save(tmp_path / "new.png")
    assert set(build_dataset(config, "val").names) - {"new.png"} == val
    assert len(build_dataset(config, "test")) == 6


def test_drawn_splits_are_different_wings():
    config = DataConfig(train_images=2, val_images=2, test_images=2, channels=1)
    splits = [build_dataset(config, split) for split in ("train", "val", "test")]
    assert [len(s) for s in splits] == [2, 2, 2]
    first = [s[0] for s in splits]
    assert first[0].image.shape[0] == 1
    assert first[0].image.dtype == torch.uint8
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(first[a].keypoints.xy, first[b].keypoints.xy)


def test_grey_wings_are_the_luma_of_coloured_ones():
    grey, colour = (build_dataset(DataConfig(train_images=1, channels=c), "train")[0] for c in (1, 3))
    luma = torch.einsum("chw,c->hw", colour.image.float(), torch.tensor([0.299, 0.587, 0.114]))
    assert (grey.image[0].float() - luma).abs().max() <= 1
    np.testing.assert_array_equal(grey.keypoints.xy, colour.keypoints.xy)


@pytest.mark.parametrize(
    ("changes", "split", "error", "says"),
    [
        ({"format": "csv"}, "train", ConfigError, "needs data.root"),
        ({"format": "csv", "root": "/nowhere"}, "train", DataError, "/nowhere is not a folder"),
        ({}, "vall", ConfigError, "nearest: val"),
    ],
)
def test_wrong_data_settings_are_one_sentence(changes, split, error, says):
    with pytest.raises(error, match=says) as raised:
        build_dataset(DataConfig(**changes), split)
    assert "\n" not in str(raised.value)


def test_a_missing_test_split_is_said(tmp_path):
    config = DataConfig(format="csv", root=str(write_discs(tmp_path, 4)))
    with pytest.raises(ConfigError, match="no test split"):
        build_dataset(config, "test")


@pytest.mark.skipif(not FACES.is_dir(), reason="the real faces are not on this machine")
def test_real_faces():
    config = DataConfig(format="mtfl", root=str(FACES), box="mtfl", box_scale=0.95)
    train, val, test = (build_dataset(config, split) for split in ("train", "val", "test"))
    assert len(train) + len(val) == 4151
    assert len(test) == 2019
    assert not {person(n) for n in train.names} & {person(n) for n in val.names}
    assert 0.05 < len(val) / 4151 < 0.15
    # The box is made from the points, so every point is on the canvas, and the face fills a good part of it.
    for samples in (train, test):
        canvases = CanvasDataset(samples, (80, 80), AugmentConfig())
        for i in range(0, 40, 8):
            item = canvases[i]
            assert item["mask"].all()
            assert 15 < (item["xy"].amax(0) - item["xy"].amin(0)).max() < 60
            assert item["image"].std() > 5
