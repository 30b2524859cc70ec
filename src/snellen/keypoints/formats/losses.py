"""What a format cannot hold of some labels, in sentences: a conversion reports it and drops nothing silently."""

from snellen.keypoints.formats.labels import PointLabels
from snellen.keypoints.formats.reading import numbered
from snellen.keypoints.keypoints import OCCLUDED

__all__ = ["FEATURES", "what_is_lost"]

#: What labels may hold besides positions, each with the sentence for a format that has no place for it.
FEATURES = {
    "names": "the names of the {n} points become p1, p2, ... or what the reader calls them",
    "order": "the order of the {n} points may change, as no object has them all",
    "swaps": "{n} swap pairs are left out; name them where the file is read",
    "normalisers": "{n} normalisers are left out; name them where the file is read",
    "skeleton": "{n} lines of the skeleton are left out",
    "occluded": "{n} occluded points become visible",
    "unlabelled": "{n} objects are left out, as some of their points are unlabelled",
    "several": "{n} objects are left out, as an image holds one",
    "empty": "{n} images without objects are left out",
    "boxes": "{n} boxes are left out",
    "blank": "{n} objects without any labelled point are left out",
    "ids": "{n} ids of objects are left out or numbered anew",
    "words": "{n} ids of objects are no whole numbers and are numbered anew",
    "scales": "{n} scales (millimetres a pixel) are left out",
    "sizes": "{n} sizes of images are left out; they are read from the pictures",
    "splits": "{n} images lose their split (train, val or test)",
    "groups": "{n} images lose their group",
    "classes": "{n} objects lose their class",
    "extras": "{n} further values of objects are left out",
}


#: The further values that say which class an object is of: its number in YOLO's files, and its name there.
CLASS = frozenset({"class", "class name"})


def what_is_lost(labels: PointLabels, name: str, holds: frozenset[str]) -> list[str]:
    """Sentences on what a format does not keep of some labels.

    Args:
        labels: what is written.
        name: of the format.
        holds: the `FEATURES` that it keeps.
    """
    objects = [item for _, item in labels.objects]
    schema = labels.schema
    partly = [item for item in objects if not item.keypoints.labelled.all()]
    complete = [[o for o in image.objects if o.keypoints.labelled.all()] for image in labels.images]
    kept = complete if "unlabelled" not in holds else [list(image.objects) for image in labels.images]
    counts = {
        "names": len(schema) if schema.points != numbered(labels.source, len(schema)).points else 0,
        "order": len(schema) if "names" in holds and not any(complete) else 0,
        "swaps": len(schema.swaps),
        "normalisers": len(schema.normalisers),
        "skeleton": len(schema.skeleton),
        "occluded": sum(int((item.keypoints.visibility == OCCLUDED).sum()) for item in objects),
        "unlabelled": len(partly),
        "several": sum(max(0, len(items) - 1) for items in kept),
        "empty": sum(not image.objects for image in labels.images),
        "boxes": sum(item.box is not None for item in objects),
        "blank": sum(not item.keypoints.labelled.any() for item in objects) if "unlabelled" in holds else 0,
        "ids": sum(bool(item.id) for item in objects),
        "words": sum(bool(item.id.strip("0123456789")) or item.id == "0" for item in objects) if "ids" in holds else 0,
        "scales": sum(item.scale is not None for item in objects),
        "sizes": sum(image.size is not None for image in labels.images),
        "splits": sum(bool(image.split) for image in labels.images),
        "groups": sum(bool(image.group) for image in labels.images),
        "classes": sum("class" in item.extra for item in objects),
        "extras": sum(len(item.extra.keys() - CLASS) for item in objects),
    }
    return [f"{name}: {FEATURES[key].format(n=n)}" for key, n in counts.items() if n and key not in holds]
