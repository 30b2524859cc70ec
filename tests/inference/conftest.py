"""What the tests of `snellen predict` share."""

import pytest
from PIL import Image

from snellen.config import from_dict
from snellen.training.fit import fit
from tiny import recipe, write_discs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    return fit(from_dict(recipe(write_discs(root / "data"), root / "runs", steps=2, validate_every=2))).path


@pytest.fixture
def pictures(run, tmp_path):
    """Ten pictures in two folders, JPEG and PNG, with blanks and umlauts in their names."""
    source = sorted((run.parents[1] / "data").glob("*.png"))[:10]
    folder = tmp_path / "Bilder für später"
    (folder / "b").mkdir(parents=True)
    for i, file in enumerate(source):
        target = folder / ("b" if i >= 6 else ".") / f"disc ü{i:02d}"
        Image.open(file).resize((60 + 3 * i, 50)).save(target.with_suffix(".jpg" if i % 2 else ".png"))
    return folder
