"""Confine this process as told, then become the program named: `python -S -m … ORDER PROGRAM …`.

Owns the system calls between "our process" and "the server". Must never import what it does not
need: it stands between every start and its server. `confinement.py` writes the order.
"""

import ctypes
import json
import os
import sys

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_REFUSED = 111


def _enter(order: dict[str, int | str], parent: int) -> None:
    uid, gid = int(order["uid"]), int(order["gid"])
    os.umask(0o077)
    if order["kind"] == "namespace":
        _enter_namespace(uid, gid)
    elif order["kind"] == "user":
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # Last: a change of credentials clears the parent-death signal.
    if order["death_signal"] and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, order["death_signal"], 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(_REFUSED)


def _enter_namespace(uid: int, gid: int) -> None:
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(_CLONE_NEWUSER) != 0:
        sys.exit(_REFUSED)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outside_uid} 1"),
        ("gid_map", f"{gid} {outside_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as entry:  # noqa: PTH123 - no pathlib
            entry.write(text)


def main() -> None:
    """Confine this process as told, then become the program named."""
    order: dict[str, int | str] = json.loads(sys.argv[1])
    words = sys.argv[2:]
    _enter(order, int(order["parent"]))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(words[0], words, kept)  # noqa: S606 - the point of this program


if __name__ == "__main__":
    main()
