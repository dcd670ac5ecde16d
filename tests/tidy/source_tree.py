"""The files that tidy looks at, and their C++ without comments and literals."""

import pathlib
import subprocess
from typing import NamedTuple

CXX_SUFFIXES = (".cpp", ".hpp", ".cu", ".cuh")
TEXT_SUFFIXES = CXX_SUFFIXES + (".py", ".sh", ".cmake", ".capnp", ".txt", ".md", ".toml", ".json",
                                ".html", ".js", ".css")


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


class SourceTree:
    """A root folder and the paths below it that count, relative and with forward slashes."""

    def __init__(self, root, paths):
        self.root = pathlib.Path(root)
        self.paths = sorted(paths)
        self._text = {}
        self._code = {}

    def having(self, *suffixes):
        return [p for p in self.paths if p.endswith(suffixes)]

    def text(self, path):
        if path not in self._text:
            self._text[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self._text[path]

    def code(self, path):
        """The text with comments and literals blanked; lines and columns stay."""
        if path not in self._code:
            self._code[path] = without_comments_and_literals(self.text(path))
        return self._code[path]


def tracked_files(root):
    """What git tracks and still exists, but no binary goldens."""
    names = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], check=True,
                           capture_output=True).stdout.decode().split("\0")
    files = [n for n in names if n and (pathlib.Path(root) / n).is_file()]
    return [n for n in files if n.endswith(TEXT_SUFFIXES) or "." not in n.rsplit("/", 1)[-1]]


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def without_comments_and_literals(text):
    out = list(text)
    position = 0
    while position < len(text):
        end = _end_of_opaque(text, position)
        if end == position:
            position += 1
            continue
        for i in range(position, end):
            if out[i] != "\n":
                out[i] = " "
        position = end
    return "".join(out)


def _end_of_opaque(text, at):
    """Where the comment or literal that starts at `at` ends; `at` itself when none does."""
    if text.startswith("//", at):
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if text.startswith("/*", at):
        end = text.find("*/", at + 2)
        return len(text) if end < 0 else end + 2
    if text.startswith('R"', at) and not _continues_word(text, at):
        opening = text.find("(", at)
        closing = ")" + text[at + 2:opening] + '"'
        end = text.find(closing, opening)
        return len(text) if end < 0 else end + len(closing)
    if text[at] == '"' or (text[at] == "'" and not _continues_word(text, at)):
        return _end_of_quoted(text, at)
    return at


def _continues_word(text, at):
    """True inside 1'000 or an identifier that ends in R."""
    return at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_")


def _end_of_quoted(text, at):
    end = at + 1
    while end < len(text) and text[end] not in (text[at], "\n"):
        end += 2 if text[end] == "\\" else 1
    return min(end + 1, len(text))
