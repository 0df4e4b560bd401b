"""As whom the servers run and where their data lie: ordinary users, root, full and odd disks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from caopan.adapters.embedded.confinement import Confinement, as_user, in_namespace
from caopan.adapters.embedded.reset import erase
from caopan.adapters.embedded.services import services
from caopan.kernel.errors import CaopanError, ConfigInvalid, Unavailable
from caopan.settings import load_settings

as_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="root on Linux has this choice"
)

# What Docker's default profile does: no new user namespaces.
FORBID_NAMESPACES = """
import ctypes, os, platform, struct, sys
number = {"x86_64": 272, "aarch64": 97}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
SOURCE = Path(__file__).parents[3] / "src"
USER = 65534  # nobody: initdb wants a user the machine knows
forbidding = (sys.executable, "-c", FORBID_NAMESPACES)


@pytest.fixture
def outside(home):
    """The directory the databases were put in outside the home; removed afterwards."""
    found: list[Path] = []

    def look() -> Path:
        noted = json.loads((home / "data" / "place.json").read_text())
        found.append(Path(noted["directory"]))
        return found[-1]

    yield look
    for directory in found:
        shutil.rmtree(directory, ignore_errors=True)


def entering(confinement: Confinement) -> list[str]:
    """The start of a command line that runs the rest of it so confined, with our modules."""
    places = os.pathsep.join([str(SOURCE), sysconfig.get_path("purelib")])
    inner = confinement.command(["/usr/bin/env", f"PYTHONPATH={places}"])
    return ["/usr/bin/env", f"PYTHONPATH={SOURCE}", *inner]


def owner_of(home: Path, name: str = "postgres") -> int:
    pid = json.loads((home / "run" / name / "state.json").read_text())["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("Uid:")[1].split()[1])


@as_root
def test_root_keeps_data_in_the_home_below_a_folder_nobody_else_can_enter(home, command):
    home.parent.chmod(0o700)
    one = command()
    one.urls()
    assert (home / "data" / "postgres" / "PG_VERSION").exists()
    assert not (home / "data" / "place.json").exists()
    one.leave()


@as_root
def test_root_without_namespaces_runs_the_servers_as_somebody_else(home, command, outside):
    one = command(*forbidding)
    one.urls()
    directory = outside()
    for name in ("postgres", "valkey"):
        assert owner_of(home, name) == directory.stat().st_uid != 0
    assert directory.stat().st_mode & 0o077 == 0
    one.leave()
    # The record holds, with namespaces again or without.
    two = command()
    two.urls()
    assert owner_of(home) == directory.stat().st_uid
    two.leave()
    erase(home)
    assert not directory.exists()


@pytest.fixture
def users_folder():
    """A folder of an ordinary user that this user can reach, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="caopan-user-"))
    os.chown(folder, USER, USER)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_root_in_a_users_home_leaves_everything_the_users(users_folder):
    home = users_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, USER, USER)
    settings = load_settings({"home": home}, environ={})
    with services(settings, durable=False):
        assert owner_of(home) == owner_of(home, "valkey") == USER
    assert {path.lstat().st_uid for path in home.rglob("*")} == {USER}


@as_root
def test_data_of_root_are_not_forgotten_where_namespaces_are_forbidden(home, command):
    one = command()
    one.urls()
    one.leave()
    two = command(*forbidding)
    with pytest.raises(AssertionError, match="ROOT_REFUSED"):
        two.urls()


@as_root
def test_copied_home_does_not_share_the_original_databases(home, command, outside, tmp_path):
    one = command(*forbidding)
    one.urls()
    outside()
    one.leave()
    shutil.copytree(home, tmp_path / "copy")
    settings = load_settings({"home": tmp_path / "copy"}, environ={})
    with pytest.raises(ConfigInvalid, match="HOME_COPIED"), services(settings):
        pass


@as_root
def test_ordinary_user_needs_nothing_special(home, command):
    """A process that is not root runs the servers as itself (seen from a user namespace)."""
    inside = in_namespace()
    assert inside is not None
    if not inside.reaches(home.parent, Path(sys.executable)):
        pytest.skip("this machine allows no user namespace")
    home.mkdir()
    one = command(*entering(inside))
    one.urls()
    assert not (home / "data" / "place.json").exists()
    one.leave()


@as_root
def test_user_the_machine_does_not_know_gets_a_name_in_a_namespace(users_folder, command):
    """Containers are often started under a bare number."""
    unknown = as_user(54321, 54321)
    os.chown(users_folder, 54321, 54321)
    candidates = (sys.executable, "/usr/bin/python3")
    reached = [one for one in candidates if unknown.reaches(users_folder, Path(one))]
    if not reached:
        pytest.skip("no Python here that another user can run")
    one = command(*entering(unknown), home=users_folder / "home", python=reached[0])
    one.urls()
    assert owner_of(users_folder / "home") == 54321
    one.leave()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 MB of its own."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount program here")
    if made.returncode != 0:
        pytest.skip(f"only root can mount a small disk: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> None:
    with (folder / "ballast").open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(folder).free - leave)


def refusal(home: Path) -> CaopanError:
    settings = load_settings({"home": home}, environ={})
    with pytest.raises(CaopanError) as caught, services(settings, durable=False):
        pass
    return caught.value


def test_full_disk_at_the_first_start(small_disk):
    fill(small_disk, leave=20_000_000)
    error = refusal(small_disk / "home")
    assert isinstance(error, Unavailable)
    assert error.code == "DB_DISK_FULL"
    assert "CAOPAN_HOME" in error.remedy


def test_full_disk_at_a_later_start(small_disk):
    settings = load_settings({"home": small_disk / "home"}, environ={})
    with services(settings, durable=False):
        pass
    fill(small_disk, leave=0)
    assert refusal(small_disk / "home").code == "DB_DISK_FULL"
    (small_disk / "ballast").unlink()
    with services(settings, durable=False) as running:
        assert running.embedded


def test_home_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("in the way")
    error = refusal(tmp_path / "file" / "home")
    assert error.code == "HOME_UNUSABLE"
    assert "CAOPAN_HOME" in error.remedy


def test_cluster_of_another_major_version_is_left_alone(settings):
    with services(settings, durable=False):
        pass
    version = settings.home / "data" / "postgres" / "PG_VERSION"
    version.write_text("17\n")
    assert refusal(settings.home).code == "DB_VERSION"
    assert version.read_text() == "17\n"
