"""docs/own-data.md, run as it stands: its Python, its commands, and the output it shows."""

import re
import shlex
from pathlib import Path

import numpy as np
import yaml

from snellen import api
from snellen.cli import main
from snellen.config import from_dict
from snellen.data import build_dataset

PAGE = Path(__file__).parent.parent / "docs" / "own-data.md"


def test_the_walk_through_does_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})  # the page's own code
    sections = text.split("\n## ")
    before, train, use, after = ("".join(sections[a:b]) for a, b in ((0, 3), (3, 4), (4, 5), (5, None)))
    assert [len(_commands(part)) for part in (before, train, use, after)] == [2, 3, 3, 1]
    for command, shown in _commands(before) + _commands(after):
        words = shlex.split(command)
        if words[0] == "head":
            lines = Path(words[2]).read_text(encoding="utf-8").splitlines(keepends=True)
            assert "".join(lines[: -int(words[1])]) == shown
        else:
            assert words[0] == "snellen"
            assert main(words[1:]) == 0
            assert capsys.readouterr().out == shown
    config = from_dict(yaml.safe_load(Path("my.yaml").read_text(encoding="utf-8")))
    assert [len(build_dataset(config.data, split)) for split in ("train", "val")] == [40, 10]
    # The training of the page takes minutes; a few steps of a narrow network show that the proposal runs.
    tiny = {"branches": 4, "width": 0.25, "norm": "batch"}
    run = api.train("my.yaml", **{"train.steps": 2, "train.batch_size": 4, "train.threads": 1, "model.choices": tiny,
                                  "data.canvas": [32, 48], "name": "mine"})  # fmt: skip
    assert api.evaluate(run, robustness=False)["images"] == 10
    capsys.readouterr()
    for command, shown in _commands(train)[1:] + _commands(use):
        assert main(shlex.split(command)[1:]) == 0
        assert _without_numbers(capsys.readouterr().out) == _without_numbers(shown)
    assert _commands(train)[0][1].splitlines()[-2:] == [
        "runs/mine",
        f"next: {' && '.join(c for c, _ in _commands(train)[1:])}",
    ]
    assert len(list(Path("drawn").iterdir())) == 50
    found, exported = (
        np.genfromtxt(name, delimiter=",", skip_header=1)[:, 1:] for name in ("found.csv", "found-onnx.csv")
    )
    assert found.shape == (50, 4 + 12 * 3)
    # Export's limit of 0.05 px, on a canvas of 48 columns for pictures of 256.
    np.testing.assert_allclose(exported, found, atol=0.05 * 256 / 48)


def _commands(text):
    """The commands of a part of the page with what it shows of each."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [found for block in blocks for found in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]


def _without_numbers(text):
    return re.sub(r"\d[\d.,]*(e-\d+)?", "N", text)
