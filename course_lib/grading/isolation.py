"""Isolation of a forked kernel: new namespaces, private mounts, limits, an unprivileged user (Linux).

It does for a forked process what bubblewrap and ``setpriv`` do for a new program. A new namespace of processes begins
with the next child: ``unshare`` is called in the parent, ``seal`` and ``drop_rights`` in the child. It needs only the
standard library; ``os.unshare`` is newer than Python 3.11, so the C library is called.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Collection

CLONE = {
    "mnt": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "pid": 0x20000000,
    "net": 0x40000000,
}  # fmt: skip
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1, 2, 4, 8, 32, 4096, 16_384, 1 << 18,
)  # fmt: skip
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
COVERED_IN_PROC = ("sys", "sysrq-trigger", "irq", "bus")
MEGABYTE = 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class IsolationError(OSError):
    """A step of the isolation failed; the caller must not run anything."""


def unshare() -> None:
    """New namespaces for this process; that of processes begins with its next child.

    Raises:
        OSError: if the system does not allow it.
    """
    flags = 0
    for flag in CLONE.values():
        flags |= flag
    _call("unshare", flags)


def seal(scratch_mb: int, kept: Collection[str] = ()) -> None:
    """Private mounts and network of the first process in new namespaces: what bubblewrap sets up for a new program.

    Args:
        scratch_mb: size of ``/tmp``, which is in memory.
        kept: what the sandbox shows in ``/tmp``, for example a Python that is installed there.

    Raises:
        OSError: if a step is not allowed.
    """
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if os.geteuid() == 0:
        for name in COVERED_IN_PROC:
            _read_only(f"/proc/{name}")
    before = os.open("/tmp", os.O_PATH | os.O_DIRECTORY)
    for folder, size in {"/dev/shm": 64, "/tmp": scratch_mb}.items():
        _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={size * MEGABYTE}")
    for name in kept:
        _keep(f"/proc/self/fd/{before}/{name}", f"/tmp/{name}")
    os.close(before)
    _mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    socket.sethostname("sandbox")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def drop_rights(uid: int | None) -> None:
    """Become a user that owns no file, without capabilities and without a way to regain any.

    Args:
        uid: user and group id; None keeps those of this process (in a user namespace without other ids).

    Raises:
        OSError: if a step is not allowed.
    """
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(LAST_CAPABILITY + 1):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) and ctypes.get_errno() != 22:
            raise OSError(ctypes.get_errno(), "cannot drop a capability from the bounding set")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    _call("capset", header, bytes(24))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    """Let this process be killed when its parent ends; call it after a change of user, which resets it."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory(hidden: bool = True) -> None:
    """Whether other processes of the same user may not trace this one or read its memory."""
    _prctl(PR_SET_DUMPABLE, 0 if hidden else 1)


def close_all_but(kept: Collection[int]) -> None:
    """Point standard input, output and errors to nowhere, and close every other descriptor that is not in ``kept``."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def namespaces() -> dict[str, str]:
    """The namespaces of this process, by the names in ``/proc/self/ns``."""
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in CLONE}


def shared_memory() -> list[str]:
    """Memory that this process would go on sharing with a forked child, as lines of ``/proc/self/maps``."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file if (rights := line.split()[1])[3] == "s" and "w" in rights]


def forbid_user_namespaces() -> None:
    """In a user namespace of its own: none below it, as bubblewrap's ``--disable-userns``.

    Raises:
        OSError: if the system does not allow it.
    """
    with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:
        file.write("0")


def require_isolated(outer: dict[str, str], uid: int | None, descriptors: Collection[int]) -> None:
    """Check from inside that all steps have had their effect.

    Args:
        outer: the namespaces of the template.
        uid: the expected user; None if it was not changed.
        descriptors: all that may be open beside the standard ones.

    Raises:
        IsolationError: with the first thing that is not as it must be.
    """
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    shared = [name for name, value in namespaces().items() if value == outer[name]]
    rights = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)]
    unexpected = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2} - set(descriptors)
    unexpected = {one for one in unexpected if _is_open(one)}
    wrong = {
        "shared namespaces": shared, "capabilities": rights, "descriptors": sorted(unexpected),
        "user": [] if uid is None or set(os.getresuid() + os.getresgid()) == {uid} else [os.getresuid()],
        "groups": [] if uid is None else os.getgroups(),
        "new rights": [] if status["NoNewPrivs"] == "1" else ["NoNewPrivs"],
        "threads": [] if status["Threads"] == "1" else [status["Threads"]],
    }  # fmt: skip
    if found := {name: values for name, values in wrong.items() if values}:
        raise IsolationError(f"the kernel is not isolated: {found}")


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _keep(source: str, target: str) -> None:
    """Show a link, or a folder read-only with what is mounted in it, at another place."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    os.mkdir(target, 0o755)
    _mount(source, target, None, MS_BIND | MS_REC)
    _mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _read_only(path: str) -> None:
    if os.path.exists(path):
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        _mount(path, path, None, MS_BIND)
        _mount("none", path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | flags)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = (part.encode() if part is not None else None for part in (source, target, kind))
    _call("mount", *texts, ctypes.c_ulong(flags), options.encode() if options is not None else None, what=target)


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, *(ctypes.c_ulong(one) for one in (value, 0, 0, 0)))


def _call(name: str, *arguments: object, what: str = "") -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {what}: {os.strerror(number)}")
