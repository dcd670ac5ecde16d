"""Rules that need more than one file: dead sources, unregistered tests, formatting."""

import posixpath
import re
import shutil
import subprocess

from source_tree import CXX_SUFFIXES, Finding

SOURCE_TOKEN = re.compile(r"[\w./${}*-]+\.(?:cpp|cu)\b")
TEST_CALL = re.compile(r"\b(?:troupe_test|troupe_fuzz)\s*\(([^()]*)\)")
TEST_CASE = re.compile(r"\bBOOST_(AUTO|DATA|FIXTURE)_TEST_CASE")


def check(tree):
    return check_sources(tree) + check_tests(tree)


def named_sources(tree, within=None):
    """(pattern, words) of every source in a CMakeLists.txt; ${x} stands for one of its words."""
    named = []
    for path in tree.paths:
        if posixpath.basename(path) != "CMakeLists.txt":
            continue
        text = re.sub(r"#.*", "", tree.text(path))
        words = set(re.findall(r"[\w.-]+", text))
        parts = within.findall(text) if within else [text]
        for token in SOURCE_TOKEN.findall(" ".join(parts)):
            named.append((pattern_of(posixpath.dirname(path), token), words))
    return named


def pattern_of(folder, token):
    if token.startswith("${CMAKE_SOURCE_DIR}/"):
        full = token[len("${CMAKE_SOURCE_DIR}/"):]
    else:
        full = posixpath.join(folder, token.replace("${CMAKE_CURRENT_SOURCE_DIR}/", ""))
    pieces = re.split(r"\$\{\w+\}", posixpath.normpath(full))
    return re.compile("([^/]+)".join(re.escape(piece) for piece in pieces))


def is_named(path, named):
    for pattern, words in named:
        match = pattern.fullmatch(path)
        if match and all(group in words for group in match.groups()):
            return True
    return False


def check_sources(tree):
    named = named_sources(tree)
    return [Finding(path, 1, "dead-file", "no CMakeLists.txt names it")
            for path in tree.having(".cpp", ".cu") if not is_named(path, named)]


def check_tests(tree):
    named = named_sources(tree, TEST_CALL)
    return [Finding(path, 1, "dead-test", "holds test cases, but no troupe_test names it")
            for path in tree.having(".cpp")
            if TEST_CASE.search(tree.code(path)) and not is_named(path, named)]


def check_format(tree, program="clang-format-14"):
    """Findings, or None when the program is not installed."""
    if shutil.which(program) is None:
        return None
    paths = tree.having(*CXX_SUFFIXES)
    if not paths:
        return []
    run = subprocess.run([program, "--dry-run", "--ferror-limit=1"] + paths, cwd=tree.root,
                         capture_output=True, text=True, check=False)
    lines = re.findall(r"^(.+?):(\d+):\d+: warning: .*clang-format", run.stderr, re.MULTILINE)
    first = {}
    for path, line in lines:
        first.setdefault(path, int(line))
    return [Finding(path, line, "format", f"run {program} -i on it")
            for path, line in sorted(first.items())]
