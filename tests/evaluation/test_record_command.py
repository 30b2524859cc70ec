"""The command that a record keeps trains what was trained."""

import argparse
import importlib.util
import shlex
from pathlib import Path

import yaml

from snellen import api
from snellen.cli.training import parse_train
from snellen.config import to_dict

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "record.py"


def test_a_records_command_trains_the_same_configuration():
    spec = importlib.util.spec_from_file_location("record", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    settings = [
        "data.root=faces",
        "data.canvas=[64, 48]",
        "train.lr=0.01",
        "augment.scale=[0.9, 1.1]",
        "data.channels=3",
    ]
    chosen = argparse.Namespace(
        record="faces5/try", recipe="faces5-rcn", set=settings, split="val", runs_of="", flip=True, decoder="argmax"
    )
    train, evaluate = script._command(chosen).split(" && ")
    words = shlex.split(train.replace("DATA", "faces").replace("seed N", "seed 4").replace("seedN", "seed4"))
    assert words[:2] == ["snellen", "train"]
    config, _ = parse_train(words[2:])
    overrides = {k: yaml.safe_load(v) for k, v in (s.split("=", 1) for s in settings)}
    assert to_dict(config) == to_dict(api.resolve("faces5-rcn", {**overrides, "seed": 4, "name": "faces5-try-seed4"}))
    assert evaluate == "snellen evaluate runs/faces5-try-seedN --split val --flip --decoder argmax"
