"""The wire contract only grows: its fields are compared with a committed list.

`schema_rules.py --update ROOT` appends new fields to the list; it refuses while an old one is
changed. A retired field may be renamed obsoleteN, nothing else.
"""

import pathlib
import re
import sys

from source_tree import Finding, SourceTree, tracked_files

SNAPSHOT = "tests/goldens/wire_schema.txt"
TOKEN = re.compile(r"(?:struct|enum)\s+(\w+)\s*\{|(?:(\w+)\s*:\s*)?(?:union|group)\s*\{|"
                   r"(\w+)\s*@(\d+)\s*(?::\s*([^;=]+?))?\s*(?:=[^;]*)?;|(\})")
ENTRY = re.compile(r"(\S+)\.(\w+) @(\d+)( :.*)?$")
CXX_ENUM = re.compile(r"enum class (\w+)\s*:\s*[\w:]+\s*\{([^}]*)\}")
# Wire names that do not follow from the domain's by spelling.
ENUM_NAMES = {"ErrorCode": "errc"}


def fields_of(name, text):
    """Lines 'file.Struct.group.field @ordinal :Type' of one schema file."""
    text = re.sub(r"#.*", "", text)
    scope, fields = [name], []
    for match in TOKEN.finditer(text):
        block, union, field, ordinal, kind, closing = match.groups()
        if closing:
            scope.pop()
        elif field:
            suffix = f" :{' '.join(kind.split())}" if kind else ""
            fields.append(f"{'.'.join(filter(None, scope))}.{field} @{ordinal}{suffix}")
        else:
            scope.append(block or union or "")
    return fields


def current_fields(tree):
    """Field line -> the schema file it stands in."""
    fields = {}
    for path in tree.having(".capnp"):
        for field in fields_of(pathlib.PurePosixPath(path).stem, tree.text(path)):
            fields[field] = path
    return fields


def is_kept(old, current):
    if old in current:
        return True
    scope, _, ordinal, kind = ENTRY.match(old).groups()
    retired = re.compile(rf"{re.escape(scope)}\.obsolete\w* @{ordinal}{re.escape(kind or '')}$")
    return any(retired.match(field) for field in current)


def check_growth(tree):
    current = current_fields(tree)
    if SNAPSHOT not in tree.paths:
        return [Finding(SNAPSHOT, 1, "schema", "is missing")] if current else []
    committed = tree.text(SNAPSHOT).splitlines()
    findings = [Finding(SNAPSHOT, number, "schema", f"'{old}' was changed or removed")
                for number, old in enumerate(committed, 1) if not is_kept(old, current)]
    known = set(committed)
    findings += [Finding(path, 1, "schema", f"'{field}' is not in {SNAPSHOT}: run "
                         "schema_rules.py --update")
                 for field, path in sorted(current.items()) if field not in known]
    return findings


def check_enums(tree):
    """Every wire enumerator has the name and number of the struct's in messages/."""
    domain = {}
    for path in tree.paths:
        if re.fullmatch(r"messages/\w+\.hpp", path):
            for name, body in CXX_ENUM.findall(tree.code(path)):
                domain[name] = re.findall(r"(\w+)\s*(?:=\s*(\d+))?", body)
    findings = []
    for path in tree.having(".capnp"):
        text = re.sub(r"#.*", "", tree.text(path))
        for name, body in re.findall(r"enum\s+(\w+)\s*\{([^}]*)\}", text):
            own = ENUM_NAMES.get(name) or snake_case(name)
            wire = sorted((int(n), snake_case(e)) for e, n in re.findall(r"(\w+)\s*@(\d+)", body))
            if own not in domain:
                findings.append(Finding(path, 1, "schema", f"no enum class {own} for {name}"))
            elif wire != numbered(domain[own]):
                findings.append(Finding(path, 1, "schema", f"{name} differs from {own}"))
    return findings


def numbered(enumerators):
    numbers, following = [], 0
    for name, number in enumerators:
        following = int(number) if number else following
        numbers.append((following, name))
        following += 1
    return sorted(numbers)


def snake_case(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def check(tree):
    return check_growth(tree) + check_enums(tree)


def update(root):
    tree = SourceTree(root, tracked_files(root))
    target = tree.root / SNAPSHOT
    committed = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
    current = current_fields(tree)
    for old in committed:
        if not is_kept(old, current):
            sys.exit(f"'{old}' was changed or removed: the contract only grows. Append a field "
                     "instead, or raise protocol_version and delete the list.")
    lines = committed + [field for field in current if field not in committed]
    target.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--update":
        sys.exit(__doc__)
    update(sys.argv[2])
