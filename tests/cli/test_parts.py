"""Several processes that take their part of a list of files, from torchrun, srun or `--part`."""

import json

import pytest
import torch

from mri_iahvae.cli.parts import Part, local_number, part_of_environment
from mri_iahvae.errors import UsageError
from mri_iahvae.pipeline.devices import find_device

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("files", [0, 1, 7])
def test_each_file_is_in_one_part(files, count):
    parts = [Part(number, count).of(range(files)) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == list(range(files))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("environment", "expected", "local"),
    [
        ({}, Part(), None),
        (TORCHRUN, Part(2, 4, "torchrun"), 1),
        (SRUN, Part(3, 3, "srun"), 0),
        ({**SRUN, **TORCHRUN}, Part(2, 4, "torchrun"), 1),  # torchrun within a task of SLURM
        ({"SLURM_NTASKS": "4"}, Part(), None),  # a shell of salloc
    ],
)
def test_the_environment_tells_the_part(environment, expected, local):
    assert part_of_environment(environment) == expected
    assert local_number(environment) == local


@pytest.mark.parametrize("values", [("4", "4"), ("-1", "4"), ("one", "4"), ("0", "0")])
def test_environments_that_cannot_be(values):
    with pytest.raises(UsageError, match=r"RANK=.* in the environment: .*; give --part I/N"):
        part_of_environment(dict(zip(("RANK", "WORLD_SIZE"), values, strict=True)))


def test_processes_of_a_machine_take_its_cuda_devices_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [find_device(name, 3) for name in ("auto", "cuda", "cuda:0", "cpu")] == [
        torch.device(name) for name in ("cuda:1", "cuda:1", "cuda:0", "cpu")
    ]
    assert find_device("cuda") == torch.device("cuda")


def test_tasks_share_a_folder_and_each_reports_its_own(arguments, start, make_folder, tmp_path):
    """As `srun -n 2` starts them; the second one has a file that cannot be used, and another part of its own."""
    scans = make_folder("scans", 4)
    (scans / "3.h5").write_text("no scan")
    command = arguments("denoise", scans, "--json", "--quality", "fast")
    variables = ({"SLURM_PROCID": i, "SLURM_NTASKS": "2", "SLURM_LOCALID": i} for i in "01")
    tasks = [start(command, environment) for environment in variables]
    for number, (task, code) in enumerate(zip(tasks, (0, 3), strict=True)):
        stdout, stderr = task.communicate(timeout=300)
        assert task.returncode == code, stderr
        report = json.loads(stdout)
        names = [entry["input"][-4:] for entry in (*report["files"], *report["failed"])]
        assert names == [f"{number}.h5", f"{number + 2}.h5"]
        assert stderr.startswith(f"part {number + 1}/2: 2 of 4 files (srun)\n")
    assert sorted(path.name for path in tmp_path.glob("out/*.h5")) == ["0.h5", "1.h5", "2.h5"]


def test_an_explicit_part_comes_first(reconstruct, make_scan, outputs, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    files = [make_scan(f"{name}.h5") for name in "abc"]
    options = ("--up-to", 8, "--quality", "fast", "-q", "--json")
    assert json.loads(reconstruct(*files, *options).stdout)["files"][0]["input"] == str(files[1])
    result = reconstruct(*files, *options, "--part", "1/2", "--skip-existing")
    assert result.exit_code == 0, result.output
    assert [file["input"] for file in json.loads(result.stdout)["files"]] == [str(files[0]), str(files[2])]
    nothing = reconstruct(*files, *options, "--part", "4/4")
    assert (nothing.exit_code, json.loads(nothing.stdout)["files"]) == (0, [])
    assert [name for name in outputs() if name.endswith("h5")] == ["a.h5", "b.h5", "c.h5"]
