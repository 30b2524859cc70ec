"""Small folders of images and masks."""

import numpy as np
from PIL import Image


def write_pair(image_file, mask_file, labels, seed=0):
    """A random picture, and labels as grey PNG."""
    for file in (image_file, mask_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    labels = np.asarray(labels, dtype=np.uint8)
    pixels = np.random.default_rng(seed).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(image_file)
    Image.fromarray(labels).save(mask_file)


def write_segnet(root, counts, size=(6, 8), classes=11):
    """SegNet's layout with so many images of each split; labels 0..classes, the last of which is ignored."""
    for split, count in counts.items():
        for i in range(count):
            labels = np.random.default_rng(i).integers(0, classes + 1, size)
            write_pair(root / split / f"{split}{i:02d}.png", root / f"{split}annot" / f"{split}{i:02d}.png", labels, i)
    return root
