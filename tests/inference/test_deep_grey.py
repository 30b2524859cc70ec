"""16-bit grey and large pictures: what training is told about them holds in prediction and in the model's card."""

import json

import numpy as np
import pytest
from PIL import Image

import snellen
from snellen import api
from snellen.cli import main
from snellen.config import ConfigError
from snellen.inference.sharing import model_card
from tiny import write_claiming, write_discs, write_recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Discs of 12 bits in 16-bit files, and a run trained on them."""
    root = tmp_path_factory.mktemp("deep")
    data = write_discs(root / "data", 16)
    for file in data.glob("*.png"):
        deep(Image.open(file)).save(file)
    recipe = write_recipe(data, root / "runs", steps=1, validate_every=1)
    run = api.train(str(recipe), **{"data.grey_range": [0, 4095], "data.max_pixels": 48 * 48})
    return data, recipe, run


def deep(picture):
    """8-bit grey as 12 bits."""
    return Image.fromarray(np.rint(np.asarray(picture, dtype=np.float64) * 4095 / 255).astype(np.uint16))


def test_prediction_reads_grey_as_training_did(world, tmp_path):
    data, _, run = world
    card = json.loads((run / "model.json").read_text())
    assert card["grey_range"] == [0, 4095]
    assert "from 0 (black) to 4095 (white)" in model_card(card, "discs")
    file = sorted(data.glob("*.png"))[0]
    shallow = np.array(Image.open(write_discs(tmp_path / "plain", 1) / "disc 00.png"))
    model = snellen.load(run)
    answers = model.predict([file, shallow, Image.open(file), Image.fromarray(shallow)])
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.xy, answers[0].xy)
    # The locator decodes the picture for both.
    other = snellen.load("wings-rcn")
    with pytest.raises(ConfigError, match=r"locator .* \[0, 65535\] and the model with \[0.*4095"):
        model.predict(file, locator=other)


def test_the_limit_can_be_raised_and_lowered_on_the_command_line(world, tmp_path, capsys):
    data, recipe, run = world
    with pytest.raises(ValueError, match="over the limit of 2,303"):
        api.train(str(recipe), name="small", **{"data.max_pixels": 48 * 48 - 1})
    files = [str(f) for f in sorted(data.glob("*.png"))[:2]]
    huge = str(write_claiming(tmp_path / "huge.jpg", 20_000))
    out = tmp_path / "found.csv"
    assert main(["predict", str(run), huge, *files, "--out", str(out)]) == 0
    assert "20000 x 20000 pixels, over the limit of 120,000,000" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 1 + 2
    assert main(["predict", str(run), *files, "--out", str(out), "--overwrite", "--max-pixels", "2303"]) == 1
    assert main(["predict", str(run), *files, "--out", str(out), "--overwrite", "--max-pixels", "0"]) == 1
    capsys.readouterr()
    proposed = tmp_path / "my.yaml"
    check = ["check", str(data / "annotations.csv"), "--sheet", "", "--workers", "1"]
    assert main([*check, "--max-pixels", "2303"]) == 1
    assert "16 pictures cannot be read" in capsys.readouterr().out
    limits = ["--max-pixels", "2304", "--grey-range", "0", "4095"]
    assert main([*check, *limits, "--write", str(proposed)]) == 0
    config = api.resolve(str(proposed))
    assert (config.data.max_pixels, config.data.grey_range) == (2304, (0, 4095))
    assert main([*check, "--grey-range", "9", "1"]) == 1
    for wrong in ({"data.grey_range": [9, 1]}, {"data.max_pixels": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            api.resolve(str(recipe), wrong)
