"""DICOM pictures: grey levels by hand, and one sentence where pydicom is missing."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from snellen.dicom import DicomError, grey_levels, is_dicom, spacing
from snellen.images import ImageError, image_size, pixel_spacing, read_image


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ray.dcm"
    path.write_bytes(bytes(128) + b"DICM" + bytes(20))
    return path


def data(values, **more):
    values = np.asarray(values)
    rows, columns = values.shape[-2:]
    return SimpleNamespace(
        pixel_array=values, Rows=rows, Columns=columns, PhotometricInterpretation="MONOCHROME2", **more
    )


def stub(monkeypatch, answer):
    """A pydicom that gives one data set."""
    monkeypatch.setitem(sys.modules, "pydicom", SimpleNamespace(dcmread=lambda *_, **__: answer))


def test_without_pydicom_one_sentence_says_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (read_image, image_size, pixel_spacing):
        with pytest.raises(ImageError, match=r"ray\.dcm is a DICOM file.*pip install 'snellen\[dicom\]'") as error:
            read(file)
        assert "\n" not in str(error.value)


def test_the_mark_is_looked_for_not_the_ending(file, tmp_path):
    other = tmp_path / "other.dcm"
    other.write_bytes(b"DICM" + bytes(300))
    assert is_dicom(file)
    assert is_dicom(file.read_bytes())
    assert not is_dicom(other)
    assert not is_dicom(tmp_path)
    assert pixel_spacing(other) is None


def test_grey_levels_by_hand():
    # Without a window the range of the values is shown.
    np.testing.assert_array_equal(grey_levels(data([[100, 300], [200, 100]])), [[0, 255], [128, 0]])
    # The window 0..100 about 50, after v * 2 - 100: 50 -> 0, 75 -> 50, 100 -> 100, 200 -> beyond.
    windowed = data(
        [[50, 75, 100, 200]], RescaleSlope=2, RescaleIntercept=-100, WindowCenter=[50, 40], WindowWidth=[100, 80]
    )
    np.testing.assert_array_equal(grey_levels(windowed), [[0, 128, 255, 255]])
    # A stated range goes before the window, and before the range of the values.
    np.testing.assert_array_equal(grey_levels(windowed, (0, 255)), [[0, 50, 100, 255]])
    np.testing.assert_array_equal(grey_levels(data([[100, 300]]), (100, 500)), [[0, 128]])
    inverted = data([[0, 1000]])
    inverted.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(grey_levels(inverted), [[255, 0]])
    # Of several frames the first; a flat picture is black.
    np.testing.assert_array_equal(grey_levels(data([[[7, 7]], [[0, 9]]])), [[0, 0]])
    inverted.PhotometricInterpretation = "RGB"
    with pytest.raises(DicomError, match="RGB, not grey"):
        grey_levels(inverted)


def test_pictures_and_sizes(file, monkeypatch):
    stub(monkeypatch, data([[0, 4095, 0], [0, 0, 0]], PixelSpacing=[0.2, 0.2]))
    assert image_size(file) == (2, 3)
    assert read_image(file, channels=1).tolist() == [[[0, 255, 0], [0, 0, 0]]]
    assert read_image(file.read_bytes(), channels=3).shape == (3, 2, 3)
    assert pixel_spacing(file) == pytest.approx(0.2)
    with pytest.raises(ImageError, match="over the limit of 5"):
        read_image(file, max_pixels=5)


def test_spacing():
    assert spacing(data([[0]], ImagerPixelSpacing=[0.1, 0.1])) == pytest.approx(0.1)
    assert spacing(data([[0]])) is None
    with pytest.raises(DicomError, match=r"0\.1 x 0\.2 mm, which are not square"):
        spacing(data([[0]], PixelSpacing=[0.1, 0.2]))


@pytest.mark.parametrize("wrong", [None, "", "x", "nan", [1, "x"]])
def test_elements_that_are_no_numbers_are_one_sentence(file, monkeypatch, wrong):
    for name, reads in (
        ("RescaleSlope", (read_image,)),
        ("RescaleIntercept", (read_image,)),
        ("Rows", (read_image, image_size, pixel_spacing)),
    ):
        answer = data([[0, 1]])
        setattr(answer, name, wrong)
        stub(monkeypatch, answer)
        for read in reads:
            with pytest.raises(ImageError, match=rf"ray\.dcm is a DICOM file whose {name} is empty or no number; .*"):
                read(file)
    for name in ("WindowCenter", "PixelSpacing"):
        answer = data([[0, 1]], WindowWidth=10)
        setattr(answer, name, wrong)
        stub(monkeypatch, answer)
        if wrong in (None, ""):  # none is given
            assert read_image(file).shape == (3, 1, 2)
            assert pixel_spacing(file) is None
        else:
            with pytest.raises(ImageError, match=f"whose {name} is empty or no number"):
                (pixel_spacing if name == "PixelSpacing" else read_image)(file)


def test_a_file_without_pixels_is_one_sentence(file, monkeypatch):
    stub(monkeypatch, SimpleNamespace())
    with pytest.raises(ImageError, match="DICOM file without a picture; leave it out"):
        read_image(file)
    stub(monkeypatch, SimpleNamespace(Rows=0, Columns=5))
    with pytest.raises(ImageError, match="of 5 x 0 pixels"):
        image_size(file)


def test_a_file_written_by_pydicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset

    ray = pydicom.Dataset()
    ray.file_meta = FileMetaDataset()
    ray.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    # Without these pydicom 3.0.2 writes no file that conforms.
    ray.SOPClassUID, ray.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, pydicom.uid.generate_uid()
    ray.file_meta.MediaStorageSOPClassUID = ray.SOPClassUID
    ray.file_meta.MediaStorageSOPInstanceUID = ray.SOPInstanceUID
    ray.Rows, ray.Columns, ray.SamplesPerPixel, ray.PhotometricInterpretation = 2, 2, 1, "MONOCHROME2"
    ray.BitsAllocated, ray.BitsStored, ray.HighBit, ray.PixelRepresentation = 16, 12, 11, 0
    ray.PixelSpacing = [0.1, 0.1]
    ray.PixelData = np.array([[0, 4095], [4095, 0]], dtype="<u2").tobytes()
    ray.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_image(tmp_path / "a.dcm", channels=1).tolist() == [[[0, 255], [255, 0]]]
    assert pixel_spacing(tmp_path / "a.dcm") == pytest.approx(0.1)
    for name in ("RescaleSlope", "PixelSpacing", "Rows"):
        before = getattr(ray, name, None)
        setattr(ray, name, None)
        ray.save_as(tmp_path / "b.dcm", enforce_file_format=True)
        if name == "PixelSpacing":
            assert pixel_spacing(tmp_path / "b.dcm") is None
        else:
            with pytest.raises(ImageError, match=rf"b\.dcm is a DICOM file whose {name} is empty or no number"):
                read_image(tmp_path / "b.dcm")
        setattr(ray, name, before) if before is not None else delattr(ray, name)
