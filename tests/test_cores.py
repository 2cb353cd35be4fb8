"""The cores that a process may use, from made-up control groups."""

import os
import subprocess
import sys

import pytest

from mri_iahvae import cores
from mri_iahvae.cores import limit_threads, usable_cores


@pytest.fixture(autouse=True)
def of_64_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.fixture
def system(tmp_path):
    """Writes /proc/self/cgroup and files of control groups below a root, and returns the root."""

    def write(groups, **files):
        for name, text in {"proc/self/cgroup": groups, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


V1 = "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/"


def v1(quota, folder="cpu,cpuacct", period=100000):
    place = f"sys/fs/cgroup/{folder}"
    return {f"{place}/cpu.cfs_quota_us": quota, f"{place}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),  # the second one helps for half of the time
        ("0::/", {"sys/fs/cgroup/cpu.max": "1000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 64),
        (
            "0::/a/b",
            {"sys/fs/cgroup/a/cpu.max": "400000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"},
            4,
        ),
        ("0::/host/path", {"sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        (V1, v1(200000), 2),  # a container sees its own group at the top
        (V1, v1(200000, "cpu,cpuacct/docker/a"), 2),
        (V1, v1(25000, "cpu/docker/a", 50000), 1),
        (V1, v1(-1), 64),
        (V1, v1(9900000), 64),
        (V1, {**v1(800000), **v1(300000, "cpu,cpuacct/docker/a")}, 3),
        (V1, v1(100000, "memory/docker/a"), 64),
        (V1, {}, 64),
        ("0::/", {"sys/fs/cgroup/cpu.max": "nonsense"}, 64),
    ],
)
def test_the_tightest_quota_counts(system, groups, files, expected):
    assert usable_cores(system(groups, **files)) == expected


def test_without_control_groups_affinity_counts(tmp_path, monkeypatch):
    assert usable_cores(tmp_path) == 64
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores(tmp_path) == 2


@pytest.mark.parametrize(
    ("quota", "processes", "given", "expected"),
    [(6, 1, None, "6"), (6, 4, None, "1"), (6, 8, None, "1"), (6, 1, "32", "32"), (64, 1, None, None)],
)
def test_threads_follow_the_quota_unless_the_user_has_decided(monkeypatch, quota, processes, given, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(cores, "usable_cores", lambda: quota)
    limit_threads(processes)
    assert os.environ.get("OMP_NUM_THREADS") == expected
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # what was set here, too


@pytest.mark.parametrize("command", ["reconstruct", "denoise", "sample", "train"])
def test_commands_limit_threads_before_pytorch_loads(command, make_scan, tmp_path):
    path = make_scan(slices=1)
    given = {"train": ["--preset", "tiny", "--devices", 2], "sample": []}.get(command, [])
    data = {"sample": [], "train": [path.parent]}.get(command, [path])
    code = """if True:
        import sys
        from mri_iahvae import cores
        def limit(processes=1):
            print("torch" in sys.modules, processes)
            raise SystemExit(5)
        cores.limit_threads = limit
        from mri_iahvae.cli import main
        main()"""
    arguments = [command, *data, *given, "-o", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (5, ["False", "2" if command == "train" else "1"]), done
