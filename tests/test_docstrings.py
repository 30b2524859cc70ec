"""The examples of docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

import snellen

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOT = Path(snellen.__file__).parent
FILES = sorted(file for file in ROOT.rglob("*.py") if ">>> " in file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_examples(file, tmp_path, monkeypatch):
    name = ".".join(("snellen", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    np.random.seed(0)
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert tried
    assert not failed
