"""Becomes a supervised process: one that dies with its parent and, if need be, is not root.

Run as a script (`python -I -S launch.py PARENT SIGNAL UID:GID|- COMMAND ARGUMENTS`), never
imported: it must start in milliseconds, and after `exec` nothing of it is left. A program of its
own between fork and exec spares us `preexec_fn`, which is unsafe beside threads.
"""

import ctypes
import os
import sys

# linux/prctl.h and linux/capability.h
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


class CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct`."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class CapabilityWord(ctypes.Structure):
    """`struct __user_cap_data_struct`: capabilities 0-31 in the first of two."""

    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def become(uid: int, gid: int, command: str, libc: ctypes.CDLL) -> None:
    """Drop root for `uid`, keeping only what it takes to reach `command` and the clone around it.

    A clone often lies under a directory that only root may enter (/root, `mktemp -d`).
    Opening those directories to everybody is not ours to do, so the process keeps the capability
    to pass them, and the one to run files of a restrictive umask only where they need it.
    """
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    words = (CapabilityWord * 2)()
    libc.capget(ctypes.byref(header), words)
    held = {cap for cap in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if words[0].permitted >> cap & 1}
    # Not by pathlib, which would take a third of this program's time to import.
    if CAP_DAC_READ_SEARCH in held and os.stat(command).st_mode & 0o001:  # noqa: PTH116
        held.discard(CAP_DAC_OVERRIDE)

    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    # Without this, access(2), by which PostgreSQL finds its binary, ignores a user's capabilities.
    libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)

    kept = sum(1 << cap for cap in held)
    words = (CapabilityWord * 2)(CapabilityWord(kept, kept, kept), CapabilityWord(0, 0, 0))
    if libc.capset(ctypes.byref(header), words):
        sys.exit(f"Cannot give up root's capabilities for user {uid}.")
    for cap in held:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0)


def main() -> None:
    """Apply the first three arguments to this process, then become the command after them."""
    parent, orphan_signal, account, *command = sys.argv[1:]
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    if account != "-":
        uid, gid = map(int, account.split(":"))
        if linux:
            become(uid, gid, command[0], libc)
        else:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
    if linux:
        # After the change of user, which would clear it.
        libc.prctl(PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("The supervisor is gone.")
    os.execv(command[0], command)  # noqa: S606 the point of this program


if __name__ == "__main__":
    main()
