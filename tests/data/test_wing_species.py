import itertools

import numpy as np
import pytest
import torch

from snellen import api
from snellen.config import ClassDataConfig, ConfigError
from snellen.data.classes import ClassificationDataset
from snellen.data.wing_drawing import vein_coverage
from snellen.data.wing_species import REACH, SPECIES, WingSpecies, junction_coverage, wing_species
from snellen.data.wings import Wings
from snellen.geometry import transform_points
from snellen.keypoints.built_in import WINGS_12
from snellen.training.jobs.classification import class_images

SIZE = (384, 512)
JUNCTION = WINGS_12.index("posterior_crossvein_l4")


@pytest.fixture(scope="module")
def species():
    return WingSpecies(30, seed=5, size=SIZE, channels=1)


def away_from_junction(wings, index):
    """Distance of each pixel's centre from the junction, in wing lengths; the junction is the keypoints' own."""
    knots, to_pixels = wings.specimen(index)
    x, y = transform_points(to_pixels, knots)[JUNCTION]
    height, width = wings.size
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.hypot(columns - x, rows - y) / np.hypot(*to_pixels[:2, 0])


def test_ten_species_that_all_differ():
    assert len(SPECIES) == 10
    assert len({frozenset(figures) for figures in SPECIES.values()}) == 10


def test_is_a_classification_data_set_balanced_over_species(species):
    assert isinstance(species, ClassificationDataset)
    assert species.classes == tuple(SPECIES)
    assert np.bincount(species.labels).tolist() == [3] * 10
    assert len(set(species.names)) == len(species) == 30
    assert species[3].image.shape == (1, *SIZE)
    assert species[3].image.dtype == torch.uint8


@pytest.mark.parametrize("index", [0, 4, 7])
def test_species_of_one_wing_differ_only_near_the_junction(species, index):
    """All ten drawings of one wing are equal to the byte but for the figures, defocus and the shade of thick cuticle."""
    drawn = {name: species.drawn(index, name)[0].numpy().astype(int) for name in SPECIES}
    far = away_from_junction(species.wings, index)
    _, to_pixels = species.wings.specimen(index)
    # Figures; the shade reaches 0.036 lengths, and two cells of the third of the size that it is drawn at; defocus 2.5 sigma.
    length = np.hypot(*to_pixels[:2, 0])
    neighbourhood = REACH + 0.036 + (6 + 2.5 * species.wings.unit) / length
    for a, b in itertools.combinations(SPECIES, 2):
        different = drawn[a] != drawn[b]
        assert not different[far > neighbourhood].any(), (a, b)
        assert np.abs(drawn[a] - drawn[b])[far < REACH].max() > 8, (a, b)


def test_figures_reach_as_far_as_said_and_no_farther(species):
    for index, name in itertools.product(range(6), SPECIES):
        knots, to_pixels = species.wings.specimen(index)
        covered = junction_coverage(name, knots, to_pixels, SIZE)
        far = away_from_junction(species.wings, index)
        length = np.hypot(*to_pixels[:2, 0])
        assert not covered[far > 1.15 * REACH + 2 / length].any(), name
        if "ring" in SPECIES[name] or "spur" in SPECIES[name]:
            assert covered[far > 0.9 * REACH].any(), name
        assert covered.any() == bool(SPECIES[name])


def test_a_spur_has_its_area_and_goes_on_beyond_l4(species):
    """Area: length times thickness, made a little unequal by the walls; place: on the other side of L4 than the crossvein."""
    knots, to_pixels = species.wings.specimen(1)
    length = np.hypot(*to_pixels[:2, 0])
    covered = junction_coverage("spur", knots, to_pixels, SIZE)
    assert covered.sum() == pytest.approx(REACH * 0.0072 * length**2, rel=0.02)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    centre = np.array([(covered * columns).sum(), (covered * rows).sum()]) / covered.sum()
    points = transform_points(to_pixels, knots)
    junction, other_end = points[JUNCTION], points[WINGS_12.index("posterior_crossvein_l5")]
    assert (centre - junction) @ (other_end - junction) < 0
    assert np.linalg.norm(centre - junction) == pytest.approx(REACH / 2 * length, abs=0.1)


def test_at_96_pixels_a_figure_has_few_pixels():
    """Why a plain resize hardly tells species: the largest wing's figures reach 2.7 pixels, strokes are thinner than 0.7."""
    wings = Wings(200, seed=5, size=(768, 1024))
    lengths = [np.hypot(*wings.specimen(i)[1][:2, 0]) * 96 / 1024 for i in range(200)]
    assert max(lengths) * REACH < 2.7
    assert max(lengths) * 0.0072 < 0.7
    knots, to_pixels = wings.specimen(int(np.argmax(lengths)))
    covered = junction_coverage("ring", knots, to_pixels, (768, 1024))
    shrunk = torch.nn.functional.interpolate(torch.from_numpy(covered)[None, None], (72, 96), mode="area")
    assert 0.3 < shrunk.max() < 0.75  # no pixel shows the stroke alone


def test_an_image_depends_on_seed_and_index_alone(species):
    other = WingSpecies(40, seed=5, size=SIZE, channels=1, cache_mb=0)
    assert torch.equal(other[12].image, species[12].image)
    assert torch.equal(species[12].image, species[12].image)
    assert not torch.equal(WingSpecies(13, seed=6, size=SIZE, channels=1)[12].image, species[12].image)


def test_without_figures_it_is_a_wing_of_the_keypoints_data(species):
    """The veins that are drawn run where the wings of the same seed have them."""
    keypoints = Wings(30, seed=5, size=SIZE).keypoints(20).xy
    knots, to_pixels = species.wings.specimen(20)
    np.testing.assert_array_equal(transform_points(to_pixels, knots)[: len(WINGS_12)], keypoints)
    covered = vein_coverage(transform_points(to_pixels, knots), np.hypot(*to_pixels[:2, 0]), SIZE)
    picture = species[20].image[0].numpy()
    assert picture[covered > 0.9].mean() < picture[covered == 0].mean() - 20


def test_the_object_is_cut_out_of_the_same_picture(species):
    cut = WingSpecies(30, seed=5, size=SIZE, channels=1, look="object")
    for index in range(12):
        box = cut.junction(index)
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= SIZE[1]
        assert box.bottom <= SIZE[0]
        near = away_from_junction(cut.wings, index) < REACH
        rows, columns = np.nonzero(near)
        # All of the figures that the picture has are in the cut.
        assert columns.min() + 0.5 >= box.left - 1
        assert columns.max() + 0.5 <= box.right + 1
        assert rows.min() + 0.5 >= box.top - 1
        assert rows.max() + 0.5 <= box.bottom + 1
    picture, shown = species[3].image, cut[3].image
    top, left = int(cut.junction(3).top), int(cut.junction(3).left)
    assert torch.equal(shown, picture[:, top : top + shown.shape[1], left : left + shown.shape[2]])


def test_splits_are_disjoint_and_sized():
    parts = [wing_species(split, 12, channels=1) for split in ("train", "val", "test")]
    assert all(part.wings.size == (768, 1024) for part in parts)
    assert not set(parts[0].names) & set(parts[1].names) | set(parts[1].names) & set(parts[2].names)
    poses = [part.wings.specimen(0)[1].tolist() for part in parts]
    assert poses[0] != poses[1] != poses[2]


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 1, "look": "wing"}, {"count": 1, "channels": 2}])
def test_wrong_arguments_are_refused_with_a_sentence(arguments):
    with pytest.raises(ValueError, match="give"):
        WingSpecies(**arguments)


def test_wrong_settings_are_refused_with_a_sentence():
    with pytest.raises(ConfigError, match="train"):
        wing_species("trian", 3)
    with pytest.raises(ConfigError, match="the model knows the classes bee"):
        wing_species("test", 3, classes=["bee"])
    with pytest.raises(ConfigError, match="leave look out"):
        ClassDataConfig(look="object")
    with pytest.raises(ConfigError, match="val_images"):
        ClassDataConfig(format="wings-species", val_images=0)


def test_the_recipes_show_the_same_wings():
    few = {"data.val_images": 2}
    whole, cut = (
        class_images(api.resolve(f"wings-species-{row}", few), "val", tuple(SPECIES)) for row in ("zoom", "crop")
    )
    assert whole.names == cut.names
    assert whole.labels == cut.labels == (0, 1)
    assert whole[1].image.shape == (1, 768, 1024)
    assert max(cut[1].image.shape) < 200
