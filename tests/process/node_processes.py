"""Which processes a cluster consists of, as the kernel has them."""

import pathlib


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
