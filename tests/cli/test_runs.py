"""The loop over files, with a stand-in for the work on one."""

import json
import signal

import click
import h5py
import pytest
from click.testing import CliRunner

from mri_iahvae.cli.group import LazyGroup
from mri_iahvae.cli.parts import Part
from mri_iahvae.cli.runs import run_files
from mri_iahvae.errors import ScanError, UsageError

NAMES = ("a.h5", "b.h5", "c.h5")
OPTIONS = {"skip_existing": False, "as_json": False, "quiet": False, "asked": {}}


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in NAMES:
        (folder / name).touch()
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs inputs as a command does; `errors`, or what makes them, are raised for files by name.

    Gives the result and what was run.
    """

    def invoke(*inputs, errors=None, **options):
        options = {**OPTIONS, **options}
        ran = []

        def work(path, target, start):
            ran.append(path.name)
            advance = start(path.name, 2)
            if errors and path.name in errors:
                error = errors[path.name]
                raise error() if callable(error) else error
            advance(2)
            target.parent.mkdir(exist_ok=True)
            target.write_text("result")
            return report(path, target)

        @click.command()
        def command():
            run_files(inputs, tmp_path / "out", lambda: work, Part(), **options)

        group = LazyGroup("group", entries={"run": ""})
        group.get_command = lambda *_: command
        return CliRunner().invoke(group, ["run"]), ran

    return invoke


def report(path, target):
    return {
        "input": str(path),
        "output": str(target),
        "task": "reconstruct",
        "picture": f"{target.stem}_kspace.png",
        "slices": 2,
        "fraction_measured": 0.25,
        "fraction_completed": 0.75,
        "fraction_zero": 0.0,
        "true_acceleration": 4.0,
        "mask": "the file's own",
        "method": "hybrid",
        "steps_used": [],
        "samples": 0,
        "scores": {},
        "warnings": ["odd"] if path.name == "b.h5" else [],
    }


def outputs(tmp_path):
    return sorted(path.name for path in tmp_path.glob("out/*"))


def test_a_folder(run, scans, tmp_path):
    result, ran = run(scans)
    assert result.exit_code == 0
    assert ran == list(NAMES)
    assert outputs(tmp_path) == list(NAMES)
    first = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert first == [
        f"{scans / name}: 2 slices, k-space 25.0% measured, 75.0% completed, 0.0% zero" for name in NAMES
    ]
    lines = result.stderr.splitlines()
    assert lines[2] == f"Warning: {scans / 'b.h5'}: odd"
    assert lines[4:] == ["3 files: 3 done"]


def test_a_file_beside_its_folder_counts_once_and_an_empty_folder_is_wrong_usage(run, scans, tmp_path):
    assert run(scans / "b.h5", scans, scans / "b.h5")[1] == ["b.h5", "a.h5", "c.h5"]
    (tmp_path / "empty").mkdir()
    result, ran = run(scans, tmp_path / "empty")
    assert (result.exit_code, result.stdout, ran) == (2, "", [])
    assert result.stderr.startswith(f"Error: {tmp_path / 'empty'}: expected a folder with scans")


def test_what_exists_is_skipped(run, scans, tmp_path):
    run(scans / "b.h5")
    result, ran = run(scans, skip_existing=True)
    assert result.exit_code == 0
    assert ran == ["a.h5", "c.h5"]
    assert result.stderr.splitlines()[-1] == "3 files: 2 done, 1 skipped"
    result, ran = run(scans, skip_existing=True, as_json=True, quiet=True)
    assert ran == []
    existing = [{"input": str(scans / name), "output": str(tmp_path / "out" / name)} for name in NAMES]
    assert json.loads(result.stdout) == {"files": [], "skipped": existing, "failed": []}
    assert run(scans)[1] == list(NAMES)  # without the option all are done again


def test_results_of_other_options_are_named(run, scans, tmp_path):
    run(scans)
    with h5py.File(tmp_path / "out" / "b.h5", "w") as file:
        file.attrs["options"] = json.dumps({"up_to": "8x8", "seed": 0, "batch": 8})
    asked = {"up_to": None, "seed": 0, "sigma": 2.0}
    result, ran = run(scans, skip_existing=True, as_json=True, asked=asked)
    assert (result.exit_code, ran) == (0, [])
    warning = f"Warning: {tmp_path / 'out' / 'b.h5'}: made with other options, and left so: --up-to was 8x8, now None"
    assert [line for line in result.stderr.splitlines() if "other options" in line] == [warning]
    skipped = json.loads(result.stdout)["skipped"]
    assert [entry.get("other_options") for entry in skipped] == [None, ["--up-to was 8x8, now None"], None]


@pytest.mark.parametrize("quiet", [False, True])
def test_a_failure_stops_no_other(run, scans, tmp_path, quiet):
    result, ran = run(scans, errors={"b.h5": ScanError("b.h5: bad")}, quiet=quiet)
    assert result.exit_code == 3
    assert ran == list(NAMES)
    assert outputs(tmp_path) == ["a.h5", "c.h5"]
    lines = result.stderr.splitlines()
    assert lines.count("Error: b.h5: bad") == 1
    assert lines[-1] == "3 files: 2 done, 1 failed"


def test_options_that_do_not_fit_a_file(run, scans):
    """Wrong usage where it is the only one; of several, it fails alone, the first one too."""
    result, ran = run(scans / "a.h5", errors={"a.h5": UsageError("no columns are left")})
    assert (result.exit_code, result.stdout, ran) == (2, "", ["a.h5"])
    result, ran = run(scans, errors={"a.h5": UsageError("no columns are left")}, as_json=True)
    assert (result.exit_code, ran) == (3, list(NAMES))
    failed = {"input": str(scans / "a.h5"), "error": "no columns are left"}
    assert json.loads(result.stdout)["failed"] == [failed]


@pytest.mark.parametrize("names", [["a.h5"], list(NAMES)])
def test_where_all_fail_the_exit_code_is_1(run, scans, tmp_path, names):
    errors = {name: ScanError(f"{name}: bad") for name in names}
    result, _ = run(*(scans / name for name in names), errors=errors)
    assert (result.exit_code, result.stdout, outputs(tmp_path)) == (1, "", [])
    assert all(f"Error: {name}: bad" in result.stderr.splitlines() for name in names)


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupted_between_files_what_is_done_stays(run, scans, tmp_path, as_json):
    result, _ = run(scans, errors={"c.h5": KeyboardInterrupt()}, as_json=as_json)
    assert result.exit_code == 130
    assert outputs(tmp_path) == ["a.h5", "b.h5"]
    assert result.stderr.splitlines()[-2:] == [
        "3 files: 2 done, 1 left; --skip-existing goes on from here",
        "Interrupted",
    ]
    if as_json:
        reported = [file["input"] for file in json.loads(result.stdout)["files"]]
    else:
        reported = [line.partition(":")[0] for line in result.stdout.splitlines() if line[0] != " "]
    assert reported == [str(scans / name) for name in NAMES[:2]]
    assert run(scans, skip_existing=True)[1] == ["c.h5"]


@pytest.mark.parametrize("error", [ScanError, ValueError])
def test_an_interrupt_that_became_an_error_is_no_failed_file(run, scans, tmp_path, error):
    def swallow():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return error("damaged")

    result, ran = run(scans, errors={"b.h5": swallow})
    assert (result.exit_code, outputs(tmp_path), ran) == (130, ["a.h5"], ["a.h5", "b.h5"])


def test_reports_are_printed_as_files_finish(scans, tmp_path, capsys):
    """An interrupted night loses nothing."""
    seen = []

    def work(path, target, start):
        seen.append(capsys.readouterr().out)
        return report(path, target)

    run_files([scans], tmp_path / "out", lambda: work, Part(), **{**OPTIONS, "quiet": True})
    assert [text.partition(":")[0] for text in seen] == ["", str(scans / "a.h5"), str(scans / "b.h5")]
