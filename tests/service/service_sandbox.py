"""What a unit forbids its process, enforced on a command: `python service_sandbox.py UNIT COMMAND...`.

Of the unit's walls these two are the ones that can break a program at run time in a way that no file shows: the calls
that it may make (`SystemCallFilter`), and the kinds of sockets (`RestrictAddressFamilies`). Enforced by libseccomp, as
systemd does it, with systemd's own lists of calls; inherited by all children.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from service_manager import read_unit

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQUAL = 4
MISSING = (
    ""
    if shutil.which("systemd-analyze") and ctypes.util.find_library("seccomp")
    else "systemd-analyze or libseccomp IS MISSING: THE UNITS' SANDBOX IS NOT TRIED; install Debian's package systemd"
)


class Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def groups_of_calls() -> dict[str, list[str]]:
    """Return what is in each of systemd's groups of calls: calls, and other groups."""
    listing = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.strip() and "#" not in line:
            members.append(line.strip())
    return groups


def allowed_calls(filters: list[str]) -> set[str]:
    """Return what is left of a list of allowed calls when later values of the key take some away, or give some back."""
    groups = groups_of_calls()

    def calls_of(word: str) -> set[str]:
        return {word}.union(*(calls_of(member) for member in groups[word])) if word.startswith("@") else {word}

    allowed: set[str] = set()
    for value in filters:
        calls = {call for word in value.removeprefix("~").split() for call in calls_of(word)}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return {call for call in allowed if not call.startswith("@")}


def enforce(unit: dict[str, list[str]]) -> None:
    """Put this process and its children behind the unit's walls."""
    seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    seccomp.seccomp_init.restype = ctypes.c_void_p
    assert unit["SystemCallErrorNumber"] == ["EPERM"]
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
    numbers = {seccomp.seccomp_syscall_resolve_name(call.encode()) for call in allowed_calls(unit["SystemCallFilter"])}
    open_socket = seccomp.seccomp_syscall_resolve_name(b"socket")
    for number in sorted(number for number in numbers - {open_socket} if number >= 0):
        assert seccomp.seccomp_rule_add(rules, ctypes.c_uint32(ALLOW), number, 0) == 0
    for family in unit["RestrictAddressFamilies"][0].split():
        is_family = Comparison(0, EQUAL, getattr(socket, family), 0)
        assert (
            seccomp.seccomp_rule_add_array(rules, ctypes.c_uint32(ALLOW), open_socket, 1, ctypes.byref(is_family)) == 0
        )
    assert seccomp.seccomp_load(rules) == 0


if __name__ == "__main__":
    enforce(read_unit(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
