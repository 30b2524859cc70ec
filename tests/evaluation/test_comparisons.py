"""Tables and figures that put records side by side."""

import dataclasses
import re

from snellen.evaluation.results.page import results_page
from snellen.evaluation.results.records import Record
from snellen.evaluation.results.tables import (
    box_table,
    corruption_table,
    curves_svg,
    curves_table,
    has_table,
    masking_table,
    paired_table,
)

NAMES = ("faces5/rcn", "faces5/sumnet")


def record(name, values, curves=None, command="snellen train some --seed N"):
    mean = sum(values) / len(values)
    return Record(
        name=name, metric="nme", unit="%", normaliser="inter-pupil", values=values, interval=[mean, mean],
        train_seconds=60.0, steps=200, command=command, hardware="2 cores", device="cpu", threads=2,
        versions={"torch": "2.9"}, commit="abc", date="2026-01-02", pretrained=False, note="a note",
        seeds=list(range(len(values))), extra={"curves": curves} if curves else {},
    )  # fmt: skip


def test_masking_table_pairs_the_nets_in_the_papers_order():
    records = [
        record("faces5/masking/rcn-1111/cpu", [7.0]), record("faces5/masking/sumnet-1111/cpu", [8.0]),
        record("faces5/masking/rcn-1000/cpu", [10.0, 12.0]), record("faces5/rcn", [6.0]),
    ]  # fmt: skip
    assert [has_table(r) for r in records] == [True, True, True, False]
    rows = [line for line in masking_table(records) if re.match(r"\| [01]{4} ", line)]
    assert rows == ["| 1000 | - | 11.00 ± 1.41 |", "| 1111 | 8.00 | 7.00 |"]
    assert masking_table(records[3:]) == []
    page = results_page(records)
    assert "\n| faces5/masking/rcn-1000/cpu" not in page  # in the table, not in the list of records
    assert page.count("\n- faces5/masking/rcn-1000/cpu: `") == 1  # and its command once
    assert "| 1111 | 8.00 | 7.00 |" in page


def test_errors_at_moved_boxes_stand_beside_one_another():
    moves = [("shift", 0.0, 0.040), ("shift", 0.1, 0.042), ("scale", 0.7, 0.06), ("scale", 1.0, 0.040)]
    jitter = [{"kind": kind, "amount": amount, "nme": nme} for kind, amount, nme in moves]
    one = dataclasses.replace(record("faces68/rcn", [4.0]), extra={"box_jitter": jitter})
    other = dataclasses.replace(record("faces68/timm", [5.0]), extra={"box_jitter": jitter[:2]})
    rows = box_table([one, other, record("faces68/none", [1.0])])
    assert rows[-5:] == [
        "| box | faces68/rcn | faces68/timm |",
        "|---|---|---|",
        "| as annotated | 4.00 (+0 %) | 4.00 (+0 %) |",
        "| shift 0.1 | 4.20 (+5 %) | 4.20 (+5 %) |",
        "| scale 0.7 | 6.00 (+50 %) | - |",
    ]
    assert box_table([record("faces68/none", [1.0])]) == []


def test_curves_are_means_over_seeds_and_need_every_run():
    rcn = record(NAMES[0], [6.0, 6.0], [[[50, 0.10], [100, 0.06]], [[50, 0.12], [100, 0.08]]])
    sumnet = record(NAMES[1], [7.0], [[[50, 0.20], [100, 0.09]]])
    table = curves_table([rcn, sumnet], NAMES)
    assert table[0] == "| steps | 50 | 100 |"
    assert table[2] == "| faces5/rcn, validation error in % | 11.00 | 7.00 |"
    assert table[3] == "| faces5/sumnet, validation error in % | 20.00 | 9.00 |"
    assert curves_table([rcn], NAMES) == []
    assert curves_svg([rcn], NAMES, "k") is None


def test_the_curves_figure_follows_its_data_and_repeats():
    def drawn(last):
        rcn = record(NAMES[0], [6.0], [[[50, 0.10], [100, last]]])
        return curves_svg([rcn, record(NAMES[1], [7.0], [[[50, 0.2], [100, 0.09]]])], NAMES, "k")

    assert drawn(0.06) == drawn(0.06)
    assert drawn(0.06) != drawn(0.05)
    assert drawn(0.06).startswith("<?xml")


def test_corruption_errors_are_divided_by_max_pooling_seed_by_seed():
    def pooled(row, *errors):
        made = record(f"cifar100/pool-{row}/cpu", [50.0] * len(errors))
        scores = [{"corruptions": {"fog": [e, e], "jpeg": [0.5, 0.5]}} for e in errors]
        return dataclasses.replace(made, metric="top-1 accuracy", extra={"scores": scores})

    table = corruption_table([pooled("max", 0.4, 0.8), pooled("lift-ll", 0.2, 0.8)])
    assert table[-2:] == ["| max | 100.0 ± 0.0 | 100 | 100 |", "| lift-ll | 87.5 ± 17.7 | 75 | 100 |"]
    assert corruption_table([pooled("lift", 0.2)]) == []


def test_paired_differences_are_taken_seed_by_seed():
    base = record("faces68/paired/base/cpu", [5.0, 7.0])
    better = record("faces68/paired/colour/cpu", [4.5, 6.5])
    worse = record("faces68/paired/argmax/cpu", [5.2, 7.4])
    rows = [line for line in paired_table([base, worse, better]) if line.startswith(("| colour", "| argmax"))]
    # Seeds differ by 2, the rows by a constant 0.5: pairing leaves an interval of no width.
    assert rows[0] == "| colour | 5.50 | -0.50 | -0.50 to -0.50 |"
    assert rows[1].startswith("| argmax | 6.30 | +0.30 |")
    assert paired_table([better]) == []
    assert has_table(base)
