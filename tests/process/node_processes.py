"""Which processes a cluster consists of, as the kernel has them."""

import os
import pathlib
import select


def processes_of(folder):
    """Name -> process id of the cluster's nodes."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if f"--data-folder={folder}/troupe-data" not in words:
            continue
        name = next((w.removeprefix("--name=") for w in words if w.startswith("--name=")), None)
        if name:
            found[name] = int(entry.name)
    return found


def command_of(pid):
    """How a node was started, without its launcher's end of a pipe."""
    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    return [w for w in words if not w.startswith("--ready")]


def ends_within(pid, seconds):
    """Whether a process that is no child of ours ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
