"""Small files of annotation formats, for tests."""

from PIL import Image


def picture(path, width, height):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def only(labels):
    ((image, item),) = labels.objects
    return image, item
