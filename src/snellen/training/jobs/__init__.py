"""From a configuration to a training that can begin: images, network and card, a file a task."""

from snellen.config import (
    ClassificationConfig,
    DenoisingConfig,
    GazeConfig,
    KeypointConfig,
    RunConfig,
    SegmentationConfig,
    SuperResolutionConfig,
)
from snellen.training.jobs.base import Job, make_model

__all__ = ["Job", "make_model", "prepare"]


def prepare(config: RunConfig, *, load_pretrained: bool = True) -> Job:
    """Read the images and make the network of a run.

    Args:
        config: of any task.
        load_pretrained: see `snellen.create_model`; a resumed run has its weights in its checkpoint.

    Raises:
        ConfigError, DataError, AnnotationError: one sentence each; nothing has been written yet.
    """
    if isinstance(config, KeypointConfig):
        from snellen.training.jobs.keypoints import prepare_keypoints

        return prepare_keypoints(config, load_pretrained=load_pretrained)
    if isinstance(config, ClassificationConfig):
        from snellen.training.jobs.classification import prepare_classes

        return prepare_classes(config, load_pretrained=load_pretrained)
    if isinstance(config, SegmentationConfig):
        from snellen.training.jobs.segmentation import prepare_labels

        return prepare_labels(config, load_pretrained=load_pretrained)
    if isinstance(config, SuperResolutionConfig):
        from snellen.training.jobs.superresolution import prepare_pictures

        return prepare_pictures(config, load_pretrained=load_pretrained)
    if isinstance(config, GazeConfig):
        from snellen.training.jobs.gaze import prepare_gaze

        return prepare_gaze(config, load_pretrained=load_pretrained)
    if isinstance(config, DenoisingConfig):
        from snellen.training.jobs.denoising import prepare_denoising

        return prepare_denoising(config, load_pretrained=load_pretrained)
    raise TypeError(f"no training is known for {type(config).__name__}")
