"""Checks the rules of this code base that no compiler knows, over the files git tracks.

One line per finding, `file:line: rule: message`; exit code 1 when there is one.
"""

import sys

import build_rules
import include_rules
import schema_rules
import source_rules
from source_tree import SourceTree, tracked_files


def all_findings(tree):
    findings = (include_rules.check(tree) + source_rules.check(tree) + build_rules.check(tree) +
                schema_rules.check(tree))
    formatting = build_rules.check_format(tree)
    if formatting is None:
        print("tidy: clang-format-14 is not installed, formatting was not checked")
    return sorted(findings + (formatting or []))


def main(arguments):
    if len(arguments) != 1:
        sys.exit(f"{__doc__}\nusage: tidy.py ROOT")
    tree = SourceTree(arguments[0], tracked_files(arguments[0]))
    findings = all_findings(tree)
    for finding in findings:
        print(finding)
    print(f"tidy: {len(tree.paths)} files, median length of C++ files "
          f"{source_rules.median_lines(tree):.0f} lines, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
