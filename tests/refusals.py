"""What a reader must say when it refuses a file."""

import pytest

from snellen.keypoints.formats import AnnotationError


def refuse(read, path, *says, **options):
    """The reader's error: one sentence that holds the file and all of `says`."""
    with pytest.raises(AnnotationError) as error:
        read(path, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in (str(path), *says):
        assert part in sentence
