"""Settings: values of any source come to the declared type, or are refused in one sentence."""

import dataclasses

import pytest

from snellen import api
from snellen.config import ConfigError, KeypointConfig, KeypointDataConfig, KeypointTrainConfig, from_dict, to_dict


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"train.optimiser": "adam"}, "train.optimiser is adadelta, adamw or sgd, not 'adam'; nearest: adamw"),
        ({"train.schedule": "cosine"}, "train.schedule is constant, one-cycle or steps"),
        ({"data.format": "cvs"}, "data.format is"),
        ({"evaluate.decoder": "locl"}, "nearest: local"),
        ({"train.patience": -3}, "train.patience must be 0 or more, not -3"),
        ({"train.steps": 1.5}, "train.steps is a whole number, not 1.5"),
        ({"train.lr": float("nan")}, "train.lr is a number"),
        ({"train.lr": True}, "train.lr is a number"),
        ({"evaluate.batch_size": 0}, "evaluate.batch_size must be positive"),
        ({"evaluate.window": -1}, "evaluate.window must be 0 or more"),
        ({"augment.scale": 1.2}, "augment.scale is a list"),
        ({"augment.noise": -5}, "augment.noise must be 0 or more"),
        ({"data.canvas": [96]}, "data.canvas is a list of 2"),
        ({"data.channels": 2}, "data.channels is 1 or 3, not 2"),
        ({"data.channels": True}, "data.channels is 1 or 3, not True"),
        ({"evaluate.flip": "yes"}, "evaluate.flip is true or false"),
        ({"model.choices": 5}, "model.choices is a group of settings"),
        ({"data.swaps": [["a", "b", "c"]]}, "data.swaps is a list of 2"),
        ({"seed": "x"}, "seed is a whole number"),
    ],
)
def test_a_wrong_value_is_one_sentence(settings, says):
    with pytest.raises(ConfigError) as error:
        api.resolve("wings-rcn", settings)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_yaml_and_python_write_means_the_same():
    assert api.resolve("wings-rcn", {"train.lr": "1e-3"}).train.lr == 0.001  # YAML reads 1e-3 as a word
    assert api.resolve("wings-rcn", {"train.steps": "100"}).train.steps == 100
    assert KeypointDataConfig(canvas=[64.0, 48]).canvas == (64, 48)
    assert api.resolve("wings-rcn", {"data.channels": "3"}).data.channels == 3
    assert isinstance(KeypointTrainConfig(lr=1).lr, float)


def test_defaults_are_of_the_declared_type_and_survive_a_round_trip():
    config = KeypointConfig()
    assert from_dict(to_dict(config)) == config
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if dataclasses.is_dataclass(value):
            assert type(value)(**{f.name: getattr(value, f.name) for f in dataclasses.fields(value)}) == value
