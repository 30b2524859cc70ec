"""Outcomes of images: kept in a file, and brought to the same images in the same order."""

import numpy as np
import pytest

from snellen.config import ConfigError
from snellen.evaluation.compare.pairs import paired_outcomes
from snellen.evaluation.outcomes import ImageOutcomes, outcomes_file

ABOUT = {"metric": "mean error", "unit": "px", "factor": 1, "better": "min", "curve": "val/nme"}


def of(names, values, **about):
    return ImageOutcomes.of_means(values, names, **{**ABOUT, **about})


def pair(**outcomes):
    return paired_outcomes({(name, 0): found for name, found in outcomes.items()})


def values(side):
    return (side.numerator / side.denominator)[0, :, 0].tolist()


def test_a_file_gives_back_what_was_saved(tmp_path):
    saved = of(["a", "ä/b"], [1.5, np.nan], how={"flip": True})
    saved.save(tmp_path, "val")
    found = ImageOutcomes.load(tmp_path, "val")
    assert (found.names, found.how, found.score()) == (("a", "ä/b"), {"flip": True}, 1.5)
    np.testing.assert_array_equal(found.denominator, [[1], [0]])


def test_a_missing_or_broken_file_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"snellen evaluate .* --split test"):
        ImageOutcomes.load(tmp_path, "test")
    outcomes_file(tmp_path, "test").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="cannot be read"):
        ImageOutcomes.load(tmp_path, "test")


def test_images_are_paired_by_name_whatever_their_order():
    first, sides, notes = pair(one=of("abc", [1, 2, 3]), other=of("cab", [30, 10, 20]))
    assert first.names == ("a", "b", "c")
    assert values(sides["one", 0]) == [1, 2, 3]
    assert values(sides["other", 0]) == [10, 20, 30]
    assert notes == []


def test_several_objects_of_one_picture_are_told_by_their_order():
    _, sides, _ = pair(one=of("aab", [1, 2, 3]), other=of("baa", [30, 10, 20]))
    assert values(sides["other", 0]) == [10, 20, 30]


def test_images_that_a_run_lacks_or_has_no_outcome_for_do_not_count_and_are_told():
    _, sides, notes = pair(
        one=of("abcd", [1, 2, 3, 4]), other=of("bcda", [20, np.nan, 40, 10]), third=of("abc", [5, 6, 7])
    )
    assert values(sides["one", 0]) == [1, 2]
    assert values(sides["other", 0]) == [10, 20]
    assert values(sides["third", 0]) == [5, 6]
    assert "3 images are in all runs, of up to 4" in notes[0]
    assert "1 images have no truth" in notes[1]


def test_different_ways_of_scoring_are_told():
    _, _, notes = pair(one=of("a", [1], how={"flip": False}), other=of("a", [1], how={"flip": True}))
    assert "different ways" in notes[0]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (of("xy", [1, 2]), "no image in common"),
        (of("ab", [1, 2], unit="% of box"), "compare runs of one measure"),
        (of("ab", [np.nan, np.nan]), "no image has an outcome"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other, says):
    with pytest.raises(ConfigError, match=says):
        pair(one=of("ab", [1, 2]), other=other)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="need two arrays"):
        ImageOutcomes(names=("a",), numerator=np.ones((2, 1)), denominator=np.ones((2, 1)), **ABOUT)
