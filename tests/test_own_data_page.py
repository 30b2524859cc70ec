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
    blocks = re.findall(r"```console\n\$ (.*?)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for command, shown in blocks:
        words = shlex.split(command)
        if words[0] == "head":
            lines = Path(words[2]).read_text(encoding="utf-8").splitlines(keepends=True)
            assert "".join(lines[: -int(words[1])]) == shown
        else:
            assert words[0] == "snellen"
            assert main(words[1:]) == 0
            assert capsys.readouterr().out == shown
    config = from_dict(yaml.safe_load(Path("my.yaml").read_text(encoding="utf-8")))
    assert [len(build_dataset(config.data, split)) for split in ("train", "val")] == [32, 8]
    # The training of the page takes minutes; a few steps of a narrow network show that the proposal runs.
    tiny = {"branches": 4, "width": 0.25, "norm": "batch"}
    run = api.train("my.yaml", **{"train.steps": 2, "train.batch_size": 4, "train.threads": 1, "model.choices": tiny,
                                  "data.canvas": [32, 48], "name": "mine"})  # fmt: skip
    assert api.evaluate(run, robustness=False)["images"] == 8
    (use,) = re.findall(r"## 4\. Use it\n\n```\n(.*?)```", text, re.DOTALL)
    for command in use.splitlines():
        assert main(shlex.split(command)[1:]) == 0
    assert len(list(Path("drawn").iterdir())) == 40
    found, exported = (
        np.genfromtxt(name, delimiter=",", skip_header=1)[:, 1:] for name in ("found.csv", "found-onnx.csv")
    )
    assert found.shape == (40, 4 + 12 * 3)
    # Export's limit of 0.05 px, on a canvas of 48 columns for pictures of 256.
    np.testing.assert_allclose(exported, found, atol=0.05 * 256 / 48)
