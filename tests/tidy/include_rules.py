"""Who may include whom: the table of docs/architecture.md as code.

A file is judged by the longest folder that matches its path. A folder may include what its row
lists; "a/" means everything below a, "a/*" only headers directly in a. Third-party headers are
listed with the paths that may use them. config/limits.hpp holds bare constants, the bounds of the
wire contract among them, so the codecs below config may read it.
"""

import re

from source_tree import CXX_SUFFIXES, Finding

OWN = {
    "messages": ["messages/"],
    "messages/wire": ["messages/", "config/limits.hpp"],
    "messages/tinker": ["messages/", "config/limits.hpp"],
    "config": ["config/", "messages/"],
    "storage": ["storage/", "config/", "messages/"],
    "gpu": ["gpu/", "config/", "messages/"],
    "actors": ["actors/", "storage/*", "gpu/*", "gpu/models/", "config/", "messages/"],
    "actors/protocol": ["actors/protocol/", "config/limits.hpp", "messages/"],
    "actors/logic": ["actors/logic/", "config/", "messages/"],
    "apps": ["apps/", "actors/", "storage/", "gpu/", "config/", "messages/"],
    "tests": ["tests/", "apps/", "actors/", "storage/", "gpu/", "config/", "messages/"],
}

CPP = r"[^.]*\.cpp$"
THIRD_PARTY = [
    (r"tl/expected\.hpp$", [r""]),
    (r"(capnp|kj)/", [r"messages/wire/"]),
    (r"google/protobuf/", [r"messages/tinker/"]),
    (r"boost/test/", [r"tests/"]),
    (r"boost/json", [r"messages/tinker/", r"storage/" + CPP, r"storage/json_\w+\.hpp$",
                     r"config/" + CPP, r"apps/", r"tests/"]),
    (r"boost/interprocess/", [r"gpu/reusing_heap\.cpp$"]),
    (r"boost/", [r"config/" + CPP, r"apps/", r"tests/"]),
    (r"rocksdb/", [r"storage/rocksdb/", r"tests/conformance/", r"tests/support/sim_disk_"]),
    (r"(zlib|zstd|zstd_errors|xxhash)\.h$",
     [r"storage/" + CPP, r"apps/gateway/" + CPP, r"tests/"]),
    (r"openssl/", [r"storage/" + CPP, r"apps/", r"tests/"]),
    (r"(torch|ATen|c10)/", [r"gpu/torch/", r"tests/.*\btorch"]),
    (r"(cuda|cublas|cooperative_groups|curand|mma)[\w./]*",
     [r"gpu/kernels/", r"gpu/comm/nccl_comm"]),
    (r"nccl\.h$", [r"gpu/comm/nccl_comm"]),
    (r"caf/", [r"actors/(?!logic/)", r"apps/", r"tests/"]),
    (r"CLI/", [r"apps/", r"tests/bench/", r"tests/simulation/" + CPP]),
    (r"(spdlog|toml\+\+|fmt|indicators)/", [r"config/" + CPP, r"apps/"]),
    (r"prometheus/", [r"apps/"]),
    (r"archive(_entry)?\.h$", [r"apps/gateway/" + CPP]),
    (r"hwloc\.h$", [r"apps/node/" + CPP]),
    (r"benchmark/", [r"tests/bench/"]),
    (r"\w*intrin\.h$", [r"gpu/", r"storage/" + CPP]),
]

# Interfaces of the operating system: not for values and not for pure logic.
SYSTEM = re.compile(r"^(sys|netinet|arpa|linux|net)/|"
                    r"^(unistd|fcntl|poll|signal|spawn|dirent|netdb|pthread|sched|dlfcn|termios|"
                    r"stdlib|malloc|pwd|fenv|cpuid|execinfo|ifaddrs)\.h$")
NO_SYSTEM = re.compile(r"^(messages|actors/logic|actors/protocol)/")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def row_of(path):
    """The longest folder of the table that holds the path; None for files outside of it."""
    rows = [row for row in OWN if path.startswith(row + "/")]
    return max(rows, key=len, default=None)


def allows_own(row, header):
    for entry in OWN[row]:
        if entry.endswith("/*"):
            folder = entry[:-1]
            if header.startswith(folder) and "/" not in header[len(folder):]:
                return True
        elif header.startswith(entry):
            return True
    return False


def problem_of(path, bracket, header):
    row = row_of(path)
    if header.split("/")[0] in OWN:
        if bracket == "<":
            return "own headers are included with quotes"
        return None if allows_own(row, header) else f"{row} may not include {header}"
    if bracket == '"':
        return f"{header} is not named from the root of the repository"
    if re.fullmatch(r"[a-z_0-9]+", header):
        return None
    if SYSTEM.match(header):
        return f"{row} is free of operating system calls" if NO_SYSTEM.match(path) else None
    for pattern, users in THIRD_PARTY:
        if re.match(pattern, header):
            allowed = any(re.match(user, path) for user in users)
            return None if allowed else f"<{header}> does not belong into {row}"
    return f"<{header}> is in no row of the include table"


def check(tree):
    findings = []
    for path in tree.having(*CXX_SUFFIXES):
        if row_of(path) is None:
            findings.append(Finding(path, 1, "include", "its folder is no row of the table"))
            continue
        text = tree.text(path)
        for match in INCLUDE.finditer(text):
            problem = problem_of(path, match[1], match[2])
            if problem:
                line = text.count("\n", 0, match.start()) + 1
                findings.append(Finding(path, line, "include", problem))
    return findings
