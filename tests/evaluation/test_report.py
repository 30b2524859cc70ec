"""Records survive the disk, figures show their record's data, and the page stands alone."""

import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_record import make_record

from snellen.evaluation.figures import images as figures_images
from snellen.evaluation.figures import keypoints as figures
from snellen.evaluation.figures.drawing import label, new_figure, svg
from snellen.evaluation.record import EvaluationRecord, JitterPoint
from snellen.evaluation.reports.keypoints import render_report, write_report
from snellen.evaluation.reports.tables import normaliser_in_words
from snellen.keypoints import get_schema

WINGS = make_record("wings-12")
FACES = make_record("mtfl-5", 30, seed=1)
PLAIN = dataclasses.replace(FACES, samples=[], coarse_to_fine=[])  # without pictures, which take most of the time
BARE = EvaluationRecord("bare", "none", "val", FACES.schema, "inter-pupil", FACES.names, FACES.pred, FACES.true)

FIGURES: dict[str, Callable[[EvaluationRecord], Figure]] = {
    "learning": figures.figure_learning_curves,
    "cumulative": figures.figure_cumulative_error,
    "map": figures.figure_keypoint_map,
    "bars": figures.figure_keypoint_bars,
    "jitter": figures.figure_box_jitter,
    "reliability": figures.figure_reliability,
    "gallery": figures_images.figure_gallery,
    "coarse-to-fine": figures_images.figure_coarse_to_fine,
}


def data_of(figure: Figure) -> list[np.ndarray]:
    """Everything that carries data: lines, image arrays, patches (bars, circles), scattered points."""
    found: list[np.ndarray] = []
    for axes in figure.axes:
        found += [np.asarray(line.get_xydata()) for line in axes.lines]
        found += [np.asarray(image.get_array()) for image in axes.images]
        found += [patch.get_path().transformed(patch.get_patch_transform()).vertices for patch in axes.patches]
        found += [np.asarray(c.get_offsets()) for c in axes.collections]
    return found


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(
        x.shape == y.shape and np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_its_record(name: str) -> None:
    drawn = data_of(FIGURES[name](WINGS))
    assert sum(a.size for a in drawn) > 10
    assert same(drawn, data_of(FIGURES[name](make_record("wings-12"))))
    other = make_record("wings-12", seed=5, spread=4.0)
    if name == "coarse-to-fine":  # its images differ by record; here the heatmaps alone are changed
        view = WINGS.coarse_to_fine[0]
        other = dataclasses.replace(
            WINGS, coarse_to_fine=[dataclasses.replace(view, heatmaps=view.heatmaps[:, :, :, ::-1])]
        )
    assert not same(drawn, data_of(FIGURES[name](other)))


def test_cumulative_curve_and_bars_hold_the_numbers() -> None:
    line = figures.figure_cumulative_error(WINGS).axes[0].lines[0]
    errors = np.sort(WINGS.errors_of_images())
    np.testing.assert_allclose(line.get_xdata()[1:-1], 100 * errors)
    np.testing.assert_allclose(line.get_ydata()[1:-1], 100 * np.arange(1, 41) / 40)
    bars = figures.figure_keypoint_bars(WINGS).axes[0].patches
    expected = sorted(100 * np.nanmean(WINGS.errors(), axis=0), reverse=True)
    np.testing.assert_allclose([bar.get_width() for bar in bars], expected)


def test_learning_curves_skip_empty_cells_and_mark_the_lowest_error() -> None:
    rows = [
        {"step": 1, "train/loss": "9"},
        {"step": 2, "train/loss": ""},
        {"step": 3, "train/loss": "7", "val/nme": ""},
    ]
    rows += [
        {"step": 3, "val/nme": 0.2},
        {"step": 6, "val/nme": 0.1},
        {"step": 9, "val/nme": "0.15"},
        {"val/nme": 0.01},
    ]
    above, below = figures.figure_learning_curves(dataclasses.replace(WINGS, history=rows)).axes
    np.testing.assert_array_equal(above.lines[0].get_xydata(), [[1, 9], [3, 7]])
    np.testing.assert_allclose(below.lines[0].get_xydata(), [[3, 20], [6, 10], [9, 15]])
    assert below.lines[1].get_xydata().tolist() == [[6, 10]]


def test_jitter_panels_get_their_own_kind() -> None:
    points = [JitterPoint("shift", 0.0, 0.1), JitterPoint("shift", 0.1, 0.2), JitterPoint("scale", 1.2, 0.3)]
    above, below = figures.figure_box_jitter(dataclasses.replace(WINGS, box_jitter=points)).axes
    np.testing.assert_allclose(above.lines[0].get_xydata(), [[0, 10], [10, 20]])
    np.testing.assert_allclose(below.lines[0].get_xydata(), [[1.2, 30]])


def test_gallery_draws_truth_and_answer_at_their_pixels() -> None:
    sample = WINGS.samples[-1]
    axes = figures_images.figure_gallery(WINGS, [sample]).axes[0]
    known = ~np.isnan(sample.true).any(axis=1)
    drawn = {line.get_marker(): line.get_xydata() for line in axes.lines}
    np.testing.assert_array_equal(drawn["o"], sample.true[known])
    np.testing.assert_array_equal(drawn["x"], sample.pred[known])
    assert list(axes.images[0].get_extent()) == [0, 80, 80, 0]


def test_figures_leave_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    svg(figures.figure_reliability(FACES), "alt", "key")
    assert dict(matplotlib.rcParams) == before


def test_svg_takes_words_literally_and_escapes_them() -> None:
    figure = new_figure(1.0)
    label(figure.add_subplot(), 0.5, 0.5, "$a_b$ <script> & 1")
    text = svg(figure, 'say "<b>"', "k")
    assert "$a_b$ &lt;script&gt; &amp; 1" in text
    assert 'aria-label="say &quot;&lt;b&gt;&quot;"' in text
    assert "<script" not in text
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert ids
    assert all(i.startswith("k-") for i in ids)
    assert set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', text)) <= {(i, "") for i in ids} | {("", i) for i in ids}


class Page(HTMLParser):
    """Collects what a browser would load or run, the alternative texts, and unclosed elements."""

    VOID = frozenset({"meta", "br", "img", "path", "use", "rect", "image", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.unnamed = 0
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data", "action")]
        self.unnamed += tag == "svg" and not values.get("aria-label")
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("record", [WINGS, FACES, BARE], ids=["wings", "faces", "bare"])
def test_the_page_loads_nothing_and_names_its_figures(record: EvaluationRecord, tmp_path: Path) -> None:
    path = write_report(record, tmp_path / "deep" / "report.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert all(target.startswith(("#", "data:image/")) for target in page.loads)
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert page.unnamed == 0
    assert len(page.ids) == len(set(page.ids))
    assert not page.open
    assert len(text) < 4_000_000
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_the_headline_names_number_interval_and_normaliser() -> None:
    text = re.sub(r"<[^>]*>", "", render_report(PLAIN))
    scores = FACES.scores()
    assert f"{100 * scores.nme:.2f}%" in text
    low, high = (f"{100 * v:.2f}" for v in scores.interval)
    assert f"{low} to {high} %" in text
    assert "divided by inter-pupil, the distance from “left eye” to “right eye”" in text
    assert "80-grid metric of the RCN paper" in text
    assert f"{100 * FACES.grid80():.2f}" in text


def test_what_is_missing_is_said() -> None:
    text = render_report(BARE)
    for sentence in (
        "no learning curve",
        "was not measured",
        "no confidences",
        "No pictures",
        "No heatmaps",
        "not recorded",
    ):
        assert sentence in text
    nothing = dataclasses.replace(BARE, true=np.full_like(BARE.true, np.nan))
    assert "no error to show" in render_report(nothing)
    none = dataclasses.replace(BARE, names=[], pred=np.empty((0, 5, 2)), true=np.empty((0, 5, 2)))
    assert "no error to show" in render_report(none)
    diverged = dataclasses.replace(BARE, pred=np.full_like(BARE.pred, np.nan))
    assert "infinite" in render_report(diverged)


def test_names_cannot_inject_markup() -> None:
    bad = '<script>alert("1")</script>.png'
    samples = [dataclasses.replace(FACES.samples[0], name=bad, kind=bad)]
    view = FACES.coarse_to_fine[0]
    views = [dataclasses.replace(view, name=bad, stages=[bad], note=bad, heatmaps=view.heatmaps[:1])]
    record = dataclasses.replace(
        FACES,
        run=bad,
        dataset=bad,
        command=bad,
        samples=samples,
        coarse_to_fine=views,
        config={bad: bad},
        versions={bad: bad},
    )
    text = render_report(record)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not Page(text).open


def test_pixels_are_not_shown_as_per_cent() -> None:
    record = dataclasses.replace(PLAIN, normaliser="pixels", threshold=8.0, pck_thresholds=(2.0, 5.0))
    text = re.sub(r"<[^>]*>", "", render_report(record))
    assert f"{record.scores().nme:.2f}px" in text
    assert "failures, above 8 px" in text
    # The paper's metric alone stays what the paper divides by.
    grid80 = PLAIN.grid80()
    assert grid80 is not None
    assert f"{100 * grid80:.2f} %over inter-pupil" in text


@pytest.mark.parametrize("record", [WINGS, BARE], ids=["full", "bare"])
def test_a_record_survives_the_disk(record: EvaluationRecord, tmp_path: Path) -> None:
    # The suffix belongs to the name: a run may be called v1.2.
    path = record.save(tmp_path / "v1.2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v1.2.json", "v1.2.npz"]
    json.loads(path.read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    for given in (path, tmp_path / "v1.2", tmp_path / "v1.2.npz"):
        loaded = EvaluationRecord.load(given)
    # Plots, the gallery's pictures and the stages; of the bare record, the three plots that need errors only.
    assert render_report(loaded).count("<svg") == (6 + 6 + 5 if record is WINGS else 3)
    for field in dataclasses.fields(record):
        ours, theirs = getattr(record, field.name), getattr(loaded, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs)
        elif field.name not in ("samples", "coarse_to_fine"):
            assert ours == theirs, field.name
    for a, b in zip(record.samples, loaded.samples, strict=True):
        assert (a.kind, a.error, a.name) == (b.kind, b.error, b.name)
        np.testing.assert_array_equal(a.canvas, b.canvas)
        np.testing.assert_array_equal(a.true, b.true)
    for a, b in zip(record.coarse_to_fine, loaded.coarse_to_fine, strict=True):
        assert (a.name, a.stages, a.note) == (b.name, b.stages, b.note)
        np.testing.assert_allclose(a.heatmaps, b.heatmaps, atol=1e-3)


def test_halves_of_two_records_are_not_mixed(tmp_path: Path) -> None:
    BARE.save(tmp_path / "a")
    dataclasses.replace(BARE, pred=BARE.pred + 1).save(tmp_path / "b")
    (tmp_path / "a.npz").write_bytes((tmp_path / "b.npz").read_bytes())
    with pytest.raises(ValueError, match="different evaluations"):
        EvaluationRecord.load(tmp_path / "a")


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"confidence is \(2, 2\)"):
        dataclasses.replace(FACES, confidence=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="no normaliser 'inter-oculr'"):
        dataclasses.replace(FACES, normaliser="inter-oculr")


def test_normalisers_in_words() -> None:
    faces = get_schema("ibug-68")
    assert normaliser_in_words(faces, "inter-ocular") == "the distance from “left eye 1” to “right eye 4”"
    assert "the mean of “left eye 1” and “left eye 4”" in normaliser_in_words(faces, "inter-pupil")
    assert all(normaliser_in_words(faces, name) for name in faces.normaliser_names)


def test_millimetres_are_shown_where_a_scale_is_known(tmp_path: Path) -> None:
    n, k = PLAIN.pred.shape[:2]
    assert "In millimetres" not in render_report(PLAIN)
    assert "In millimetres" not in render_report(dataclasses.replace(PLAIN, scales=np.full(n, np.nan)))
    # Points 1.25, 2.25, 3.5 and 5 mm off in images of half a millimetre a pixel; the scale of the others is not known.
    true = np.full((n, k, 2), 50.0)
    true[:, -1] = np.nan
    true[:, 1] = 90.0
    pred = np.nan_to_num(true, nan=7.0)
    pred[:4, :-1, 0] += 2 * np.array([1.25, 2.25, 3.5, 5.0])[:, None]
    scales = np.full(n, np.nan)
    scales[:4] = 0.5
    record = dataclasses.replace(PLAIN, pred=pred, true=true, scales=scales)
    record.save(tmp_path / "record")
    again = EvaluationRecord.load(tmp_path / "record")
    assert again.scales is not None
    np.testing.assert_array_equal(again.scales, scales)
    page = render_report(again)
    assert "<strong>3.00 mm</strong>" in page
    assert f"{4 * (k - 1)} labelled points of the 4 of {n} images" in page
    for limit, share in (("2", 25.0), ("2.5", 50.0), ("3", 50.0), ("4", 75.0)):
        assert f"<td>{limit} mm</td><td>{share:.1f} %</td>" in page
    with pytest.raises(ValueError, match="scales is"):
        dataclasses.replace(PLAIN, scales=np.ones(n + 1))
