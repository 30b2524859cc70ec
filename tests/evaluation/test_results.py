"""Records of results: what is refused, and that the page shows them all."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from snellen.evaluation.results.page import HEADLINES, headline_table, main, results_page, with_headlines
from snellen.evaluation.results.records import Record, add_record, mean_interval, read_records

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted((REPOSITORY / "results").glob("*.json"))
PAGE = REPOSITORY / "docs" / "results.md"


def record(**changes):
    values = {
        "name": "faces5/rcn", "metric": "nme", "unit": "%", "normaliser": "inter-pupil",
        "values": [6.0, 7.0, 8.0], "interval": [4.5, 9.5], "train_seconds": 600.0, "steps": 1500,
        "command": "snellen train faces5-rcn --seed N", "hardware": "2 cores, some processor", "device": "cpu",
        "threads": 2, "versions": {"torch": "2.9"}, "commit": "abc", "date": "2026-01-02", "pretrained": False,
        "note": "a note", "seeds": [0, 1, 2], **changes,
    }  # fmt: skip
    return Record(**values)


def test_mean_and_spread_by_hand():
    assert record().mean == 7.0
    assert record().spread == pytest.approx(1.0)  # sample standard deviation of 6, 7, 8
    assert record(values=[7.0], seeds=[0]).spread == 0.0


def test_a_record_of_here_and_now_knows_its_circumstances():
    made = Record.here(
        name="a/b", metric="time", unit="s", values=[1.0], interval=[1.0, 1.0], train_seconds=1.0, steps=1, command="x",
        note="",
    )  # fmt: skip
    assert made.versions["torch"]
    assert made.hardware
    assert made.threads >= 1
    assert made.device == "cpu"
    assert not made.pretrained


def test_the_interval_by_hand():
    # Three values: t(2) = 4.303, standard error 1 / sqrt(3): 7 -+ 2.4843.
    assert mean_interval([6.0, 7.0, 8.0]) == pytest.approx([4.5157, 9.4843], abs=1e-4)
    # Five values 1..5: t(4) = 2.776, standard deviation sqrt(2.5): 3 -+ 1.9629.
    assert mean_interval([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx([1.0371, 4.9629], abs=1e-4)
    assert mean_interval([3.0]) == [3.0, 3.0]
    low, high = mean_interval([float(i) for i in range(40)])  # more than the table holds
    assert low < 19.5 < high


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"values": []}, "no finite values"),
        ({"values": [6.0, float("nan"), 8.0]}, "no finite values"),
        ({"values": [float("inf")], "seeds": []}, "no finite values"),
        ({"interval": [7.5, 9.0]}, "does not hold the mean 7"),
        ({"interval": [7.0]}, "does not hold the mean"),
        ({"interval": [float("nan"), 9.0]}, "does not hold the mean"),
        ({"seeds": [0, 1]}, "3 values for 2 seeds"),
        ({"name": "rcn"}, "data/what"),
        ({"metric": ""}, "a metric"),
        ({"command": ""}, "a command"),
    ],
)
def test_a_record_that_says_too_little_is_refused(changes, says):
    with pytest.raises(ValueError, match=says) as error:
        record(**changes)
    assert "\n" not in str(error.value)


def test_records_are_added_replaced_and_read(tmp_path):
    add_record(tmp_path / "a.json", record())
    add_record(tmp_path / "a.json", record(metric="failures", normaliser=""))
    add_record(tmp_path / "b.json", record(name="wings/rcn", extra={"median": 1.5}))
    add_record(tmp_path / "a.json", record(note="measured again"))
    found = read_records(tmp_path)
    assert sorted((r.name, r.metric) for r in found) == [
        ("faces5/rcn", "failures"), ("faces5/rcn", "nme"), ("wings/rcn", "nme"),
    ]  # fmt: skip
    assert next(r for r in found if (r.name, r.metric) == ("faces5/rcn", "nme")).note == "measured again"
    # All that was written comes back.
    assert next(r for r in found if r.name == "wings/rcn") == record(name="wings/rcn", extra={"median": 1.5})
    assert not list(tmp_path.glob(".*"))


def test_unknown_and_missing_fields_are_refused_with_the_file(tmp_path):
    values = dataclasses.asdict(record())
    file = tmp_path / "r.json"
    file.write_text(json.dumps([{**values, "nmee": 3}]))
    with pytest.raises(ValueError, match=r"r\.json.*nmee"):
        read_records(tmp_path)
    del values["command"]
    file.write_text(json.dumps([values]))
    with pytest.raises(ValueError, match=r"r\.json.*command"):
        read_records(tmp_path)


def test_the_page_holds_every_record():
    records = [record(), record(name="faces5/sumnet", command="snellen train faces5-sumnet --seed N"), record(
        name="wings/rcn", values=[0.9], interval=[0.8, 1.1], seeds=[0], unit="px", normaliser="", train_seconds=45.0,
    )]  # fmt: skip
    page = results_page(records)
    of_data = page.partition("## Claims of the papers")[0]
    rows = [line for line in of_data.splitlines() if line.startswith("| ") and not line.startswith("| record")]
    assert len(rows) == 3
    assert "| faces5/rcn | nme / inter-pupil | 7.00 ± 1.00 % | 4.50 to 9.50 | 3 | 1,500 | 10.0 min | a note |" in rows
    assert "0.80 to 1.10" in rows[2]
    assert "45 s" in rows[2]
    # A section a data set, each with the commands of its records.
    wings = page.index("## wings")
    assert page.index("## faces5") < page.index("faces5-sumnet --seed N") < wings < page.index("| wings/rcn")
    # The table's header, its rule and its rows agree in columns, or Markdown would not show a table.
    columns = {line.count("|") for line in of_data.splitlines() if line.startswith("|")}
    assert len(columns) == 1


def test_the_page_is_made_from_the_command_line(tmp_path):
    add_record(tmp_path / "results" / "a.json", record())
    page, readme = tmp_path / "docs" / "results.md", tmp_path / "README.md"
    readme.write_text("before\n<!-- results: generated by make results -->\nold\n<!-- /results -->\nafter\n")
    folder = str(tmp_path / "results")
    subprocess.run(
        [sys.executable, "-m", "snellen.evaluation.results.page", folder, str(page), str(readme)], check=True
    )
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- /results -->\nafter\n")
    assert "old" not in text
    assert page.read_text(encoding="utf-8") == results_page([record()])
    # What was written by hand is taken in: the ideas before all records, what was not run behind them.
    (tmp_path / "results" / "ideas.md").write_text("- Circles help.\n")
    (tmp_path / "results" / "not-run.md").write_text("- Squares.\n")
    main(folder, str(page), str(readme))
    text = page.read_text(encoding="utf-8")
    order = ["## Which idea helps where\n\n- Circles help.\n", "## faces5", "## Not run\n\n- Squares.\n"]
    assert [text.count(part) for part in order] == [1, 1, 1]
    assert sorted(order, key=text.index) == order


# --- the repository's own


@pytest.mark.skipif(not FILES, reason="this checkout holds no results")
def test_stored_results_are_complete():
    records = read_records(REPOSITORY / "results")
    assert len(records) >= len(FILES)
    keys = [(r.name, r.metric) for r in records]
    assert len(set(keys)) == len(keys)
    for r in records:
        # Errors without the name of what they were divided by cannot be compared with anything.
        assert r.normaliser or r.metric != "nme", r.name
        assert r.versions.get("torch"), r.name
        assert r.hardware, r.name
        assert r.date[:2] == "20", r.name


def test_layers_that_were_timed_together_stand_in_one_table():
    def timed(name, mode, forward, step):
        return record(
            name=f"speed/ms-sar/{name}", metric=f"forward, {mode}, NCHW, 2x3x4x5", unit="ms", normaliser="", values=[forward],
            interval=[forward, forward], seeds=[0], steps=20, command="python benchmarks/x.py", extra={"step_ms": step},
        )  # fmt: skip

    timings = [timed("se", "eager", 2.0, 4.0), timed("ms-sar", "eager", 3.0, 10.0), timed("se", "compiled", 1.0, 5.0)]
    page = results_page([record(), *timings])
    assert page.count("speed/ms-sar") == 0
    assert (
        """### ms-sar: NCHW, 2x3x4x5

Milliseconds, medians of 20 rounds in which all take turns; in brackets over eager SE.
`python benchmarks/x.py` (2 cores, some processor, 2026-01-02)

| layer | eager forward | eager step | compiled forward | compiled step |
|---|---|---|---|---|
| se | 2.00 (1.00) | 4.00 (1.00) | 1.00 (0.50) | 5.00 (1.25) |
| ms-sar | 3.00 (1.50) | 10.00 (2.50) | - | - |
"""
        in page
    )
    # Without what the others are divided by, times stand alone.
    assert "| ms-sar | 3.00 | 10.00 |" in results_page([record(), timings[1]])


@pytest.mark.skipif(not FILES or not PAGE.exists(), reason="this checkout holds no results or no page of them")
def test_the_results_page_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    by_hand = [(REPOSITORY / "results" / name).read_text(encoding="utf-8") for name in ("not-run.md", "ideas.md")]
    records = read_records(REPOSITORY / "results")
    assert page == results_page(records, *by_hand), "make results"
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert readme == with_headlines(readme, headline_table(records, HEADLINES)), "make results"
