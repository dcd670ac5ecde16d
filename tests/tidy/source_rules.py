"""Rules about the text of single files: what is banned, how long things are, how headers begin."""

import re
import statistics

from source_tree import CXX_SUFFIXES, Finding, line_of

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

# (rule, pattern over code without comments and literals, why, paths that are allowed to)
BANS = [
    ("infinite", r"\bcaf\s*::\s*infinite\b", "every request has a deadline", None),
    ("sleep", r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|::\s*sleep\s*\(",
     "wait for an event, with a deadline", None),
    ("random", r"\brandom_device\b|\bs?rand\s*\(\s*\)", "randomness comes from a seed", None),
    ("clock", r"\b(system|steady|high_resolution)_clock\s*::\s*now\b",
     "time comes from actors/runtime/clock, so that simulations own it",
     r"actors/runtime/clock|gpu/comm/|apps/|tests/(conformance|process|bench)/"),
    ("capture", r"\[=[\],]", "name what is captured", None),
    ("new", r"(?<!operator )\bnew\b\s*[(A-Za-z_:]", "use std::make_unique", None),
    ("delete", r"(?<!=)(?<!= )(?<!operator )\bdelete\b", "use an owning type", None),
    ("detached", r"\bcaf\s*::\s*detached\b", "only blocking actors own a thread",
     r"actors/(blob_verifier|chain_folder|checkpoint_store|engine_worker|sampler|weight_stager)"
     r"\.cpp$|apps/"
     r"|tests/"),
]
# A pointer that goes straight into its owner: the constructor may be private.
OWNED = re.compile(r"\b(unique|shared)_ptr<[^;{}]*>\s*\w*\(\s*$")
HEADER_BANS = [("namespace", r"^\s*using\s+namespace\b", "a header must not open namespaces")]

# A body that its one user includes again for each instruction set.
INCLUDED_OFTEN = re.compile(r"// .*\bIncluded (once )?by (each )?[\w.<>]+( only)?[.,]")

# Over the whole text of every file. The brackets keep these lines from finding themselves.
TEXT_BANS = [
    ("todo", re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b"), "finish it or leave it out"),
    ("machine-path", re.compile(r"(?<![\w.$}])/(work|home|root|Users)/[A-Za-z]"),
     "a path of one machine"),
    ("registry", re.compile(r"\b(pypi|pythonhosted|npmjs|crates|rubygems|anaconda|debian|ubuntu|"
                            r"nuget)\.(org|io|com|net)\b"),
     "the host name of a package registry belongs to a machine's own settings"),
]


def check(tree):
    findings = []
    for path in tree.paths:
        findings += check_text(path, tree.text(path))
    for path in tree.having(*CXX_SUFFIXES):
        findings += check_bans(path, tree.code(path))
        findings += check_functions(path, tree.code(path))
        if path.endswith(".hpp"):
            findings += check_header(path, tree.text(path))
    return findings


def check_text(path, text):
    findings = []
    for rule, pattern, why in TEXT_BANS:
        for match in pattern.finditer(text):
            findings.append(Finding(path, line_of(text, match.start()), rule,
                                    f"'{match[0]}': {why}"))
    if not path.endswith(CXX_SUFFIXES + (".py", ".capnp", ".cmake", ".sh", "CMakeLists.txt")):
        return findings
    lines = text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        findings.append(Finding(path, 1, "file-length",
                                f"{len(lines)} lines, the limit is {FILE_LINES_MAX}"))
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            findings.append(Finding(path, number, "line-length",
                                    f"{len(line)} columns, the limit is {COLUMNS_MAX}"))
    return findings


def check_bans(path, code):
    findings = []
    for rule, pattern, why, allowed in BANS:
        if allowed and re.match(allowed, path):
            continue
        for match in re.finditer(pattern, code):
            if rule == "new" and OWNED.search(code[:match.start()][-400:]):
                continue
            findings.append(Finding(path, line_of(code, match.start()), rule,
                                    f"'{match[0].strip()}': {why}"))
    if path.endswith(".hpp"):
        for rule, pattern, why in HEADER_BANS:
            for match in re.finditer(pattern, code, re.MULTILINE):
                findings.append(Finding(path, line_of(code, match.end()), rule, why))
    return findings


def check_header(path, text):
    lines = text.splitlines()
    if lines and INCLUDED_OFTEN.match(lines[0]):
        return []
    if not lines or lines[0] != "#pragma once":
        return [Finding(path, 1, "header", "starts with '#pragma once'")]
    rest = [line for line in lines[1:4] if line.strip()]
    if not rest or not rest[0].startswith("// "):
        return [Finding(path, 2, "header", "a paragraph says which problem it solves, and why so")]
    return []


def check_functions(path, code):
    findings = []
    for start, end, name in functions(code):
        length = code.count("\n", start, end) + 1
        if length > FUNCTION_LINES_MAX:
            findings.append(Finding(path, line_of(code, start), "function-length",
                                    f"{name} has {length} lines, the limit is "
                                    f"{FUNCTION_LINES_MAX}"))
    return findings


def functions(code):
    """Yields (start, end, name) of outermost function bodies, by matching braces.

    A brace opens a function when the text since the last statement holds a parenthesis and the
    brace is in no function yet. A block that is followed by ',' or '{' was a member's initialiser.
    """
    code = re.sub(r"^[ \t]*#.*(\\\n.*)*", lambda m: re.sub(r"[^\n]", " ", m[0]), code,
                  flags=re.MULTILINE)
    stack = []  # (start of head, is function)
    head = 0
    for brace in re.finditer(r"[{};]", code):
        at = brace.start()
        inside = any(is_function for _, is_function in stack)
        if brace[0] == "{":
            stack.append((head, not inside and opens_function(code[head:at])))
            head = at + 1
        elif brace[0] == ";":
            head = head if open_parentheses(code[head:at]) else at + 1
        elif stack:
            start, is_function = stack.pop()
            following = code[at + 1:at + 200].lstrip()[:1]
            head = start if following in (",", "{") and following else at + 1
            if is_function and head != start:
                yield start + leading_space(code[start:at]), at + 1, name_of(code[start:at])


def leading_space(text):
    return len(text) - len(text.lstrip())


def open_parentheses(text):
    return text.count("(") > text.count(")")


def opens_function(head):
    if re.search(r"\b(namespace|enum)\b[^()]*$", head) or "(" not in head:
        return False
    return not re.search(r"\b(class|struct|union)\s+[\w:<>]+\s*(final\s*)?(:[^()]*)?$", head)


def name_of(text):
    names = re.search(r"([\w:~]+|operator\s*\S+)\s*\(", text)
    return names[1] if names else "a function"


def median_lines(tree):
    counts = [tree.text(path).count("\n") for path in tree.having(*CXX_SUFFIXES)]
    return statistics.median(counts) if counts else 0
