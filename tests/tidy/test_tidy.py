"""Each rule on a small tree that breaks it, and on its nearest neighbour that does not."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import build_rules
import include_rules
import schema_rules
import source_rules
from source_tree import SourceTree, without_comments_and_literals

HEADER = "#pragma once\n\n// What it is for.\n\n"


class TreeTest(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for path, text in files.items():
            target = pathlib.Path(folder.name) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return SourceTree(folder.name, files)

    def findings(self, check, path, text):
        return [(f.line, f.rule) for f in check(self.tree({path: text}))]

    def assert_include(self, path, include, allowed):
        found = self.findings(include_rules.check, path, f"#include {include}\n")
        self.assertEqual(found, [] if allowed else [(1, "include")], f"{path} {include}")

    def assert_rule(self, rule, path, bad, good):
        self.assertIn(rule, [r for _, r in self.findings(source_rules.check, path, bad)], bad)
        self.assertNotIn(rule, [r for _, r in self.findings(source_rules.check, path, good)], good)


class IncludeTest(TreeTest):
    def test_own_headers_follow_the_table(self):
        for path, header, allowed in [
                ("messages/a.hpp", "messages/error.hpp", True),
                ("messages/a.hpp", "config/limits.hpp", False),
                ("messages/wire/a.cpp", "config/limits.hpp", True),
                ("messages/wire/a.cpp", "config/log.hpp", False),
                ("config/a.cpp", "messages/error.hpp", True),
                ("config/a.cpp", "storage/journal.hpp", False),
                ("storage/a.cpp", "gpu/comm.hpp", False),
                ("gpu/a.cpp", "storage/journal.hpp", False),
                ("gpu/torch/a.cpp", "gpu/comm.hpp", True),
                ("actors/logic/a.cpp", "messages/ids.hpp", True),
                ("actors/logic/a.cpp", "storage/journal.hpp", False),
                ("actors/logic/a.cpp", "actors/runtime/ask.hpp", False),
                ("actors/protocol/a.hpp", "actors/logic/b.hpp", False),
                ("actors/a.cpp", "storage/journal.hpp", True),
                ("actors/a.cpp", "storage/rocksdb/folder_lock.hpp", False),
                ("actors/a.cpp", "gpu/torch/block.hpp", False),
                ("actors/a.cpp", "apps/client/hub.hpp", False),
                ("apps/a.cpp", "gpu/torch/block.hpp", True),
                ("apps/a.cpp", "tests/support/scratch_folder.hpp", False),
                ("tests/unit/a.cpp", "tests/support/scratch_folder.hpp", True)]:
            self.assert_include(path, f'"{header}"', allowed)

    def test_third_party_headers_stay_where_they_belong(self):
        for path, header, allowed in [
                ("messages/a.hpp", "tl/expected.hpp", True),
                ("messages/a.cpp", "capnp/message.h", False),
                ("messages/wire/a.cpp", "capnp/message.h", True),
                ("tests/unit/messages/a.cpp", "kj/common.h", False),
                ("storage/a.cpp", "rocksdb/db.h", False),
                ("storage/rocksdb/a.cpp", "rocksdb/db.h", True),
                ("storage/a.cpp", "boost/json.hpp", True),
                ("storage/a.hpp", "boost/json.hpp", False),
                ("storage/a.cpp", "zstd.h", True),
                ("storage/a.hpp", "openssl/evp.h", False),
                ("gpu/a.cpp", "ATen/Parallel.h", False),
                ("gpu/torch/a.cpp", "ATen/Parallel.h", True),
                ("gpu/kernels/a.cu", "cuda_runtime.h", True),
                ("gpu/torch/a.cpp", "nccl.h", False),
                ("actors/a.hpp", "caf/all.hpp", True),
                ("actors/logic/a.hpp", "caf/all.hpp", False),
                ("storage/a.cpp", "caf/all.hpp", False),
                ("config/a.cpp", "toml++/toml.h", True),
                ("config/a.hpp", "toml++/toml.h", False),
                ("apps/a.cpp", "CLI/CLI.hpp", True),
                ("actors/a.cpp", "boost/beast.hpp", False),
                ("apps/a.cpp", "boost/test/unit_test.hpp", False),
                ("tests/unit/a.cpp", "boost/test/unit_test.hpp", True),
                ("gpu/a.cpp", "Eigen/Dense", False)]:
            self.assert_include(path, f"<{header}>", allowed)

    def test_values_and_logic_make_no_system_calls(self):
        self.assert_include("actors/logic/a.cpp", "<unistd.h>", False)
        self.assert_include("messages/a.cpp", "<sys/socket.h>", False)
        self.assert_include("storage/posix/a.cpp", "<unistd.h>", True)
        self.assert_include("actors/logic/a.cpp", "<vector>", True)

    def test_own_headers_are_named_from_the_root_in_quotes(self):
        self.assert_include("gpu/a.cpp", "<gpu/comm.hpp>", False)
        self.assert_include("gpu/a.cpp", '"comm.hpp"', False)

    def test_unknown_folders_are_reported(self):
        found = self.findings(include_rules.check, "tools/a.cpp", "")
        self.assertEqual(found, [(1, "include")])


class BanTest(TreeTest):
    def test_bans(self):
        for rule, bad, good in [
                ("infinite", "request(a, caf::infinite, 1);", "// caf::infinite\n"),
                ("sleep", "std::this_thread::sleep_for(1s);", 'log("sleep_for");'),
                ("sleep", "usleep(3);", "asleep(3);"),
                ("random", "std::random_device d;", "std::mt19937_64 d(1);"),
                ("clock", "auto t = std::chrono::steady_clock::now();", "clock.now();"),
                ("capture", "auto f = [=] { return x; };", "auto f = [x = y] { return x; };"),
                ("new", "auto* p = new thing(3);", "void* operator new(std::size_t);"),
                ("new", "keep(new thing);", "std::unique_ptr<thing> p(new thing(3));"),
                ("new", "p = new\n    thing;", "const bool new_one = true;"),
                ("delete", "delete p;", "thing(const thing&) = delete;"),
                ("detached", "spawn<x, caf::detached>();", "spawn<x>();")]:
            self.assert_rule(rule, "actors/a.cpp", bad, good)

    def test_some_files_may(self):
        clock = "auto t = std::chrono::system_clock::now();\n"
        self.assertEqual(self.findings(source_rules.check, "actors/runtime/clock.cpp", clock), [])
        spawn = "spawn<x, caf::detached>();\n"
        self.assertEqual(self.findings(source_rules.check, "actors/engine_worker.cpp", spawn), [])

    def test_headers_open_no_namespaces(self):
        bad = HEADER + "using namespace std;\n"
        self.assertIn((5, "namespace"), self.findings(source_rules.check, "gpu/a.hpp", bad))
        self.assertEqual(self.findings(source_rules.check, "gpu/a.cpp", "using namespace x;\n"), [])

    def test_text_bans_reach_comments_and_documents(self):
        for rule, bad in [("todo", "TO" + "DO: more"), ("machine-path", "see /ho" + "me/ann/x"),
                          ("registry", "get it from py" + "pi.org")]:
            for path in ("docs/a.md", "gpu/a.cpp"):
                found = self.findings(source_rules.check, path, f"// {bad}\n")
                self.assertEqual(found, [(1, rule)])
        self.assertEqual(self.findings(source_rules.check, "docs/a.md", "~/.cache/home/x\n"), [])

    def test_literals_and_comments_are_blanked_in_place(self):
        code = without_comments_and_literals('a("x\\"new y"); // new\n/* new\n */ b(1\'000);')
        self.assertEqual(code.count("\n"), 2)
        self.assertNotIn("new", code)
        self.assertIn("b(1'000);", code)
        self.assertEqual(without_comments_and_literals('R"x(new)" )x";').strip(), ";")


class LengthTest(TreeTest):
    def test_long_files_and_lines(self):
        self.assert_rule("file-length", "gpu/a.cpp", "\n" * 601, "\n" * 600)
        self.assert_rule("line-length", "gpu/a.cpp", "x" * 101, "x" * 100)

    def test_long_functions(self):
        def function(lines, head="void f(int a)"):
            return f"namespace n {{\n{head} {{\n" + "  g();\n" * (lines - 2) + "}\n}\n"
        for head in ("void f(int a)", "thing::thing(int a) : a_{a}, b_(2), c_{3}",
                     "template <class T>\nauto f(T a) -> T", "struct s {\nvoid f() const"):
            extra = head.count("\n") - (1 if head.startswith("struct") else 0)
            self.assert_rule("function-length", "gpu/a.cpp", function(71 - extra, head),
                             function(70 - extra, head))

    def test_what_is_no_function_may_be_long(self):
        for head in ("constexpr std::array table", "struct wide", "enum class e : int",
                     "class wide final : public base<int>"):
            text = head + " {\n" + "  x,\n" * 100 + "};\n"
            self.assertEqual(self.findings(source_rules.check, "gpu/a.cpp", text), [], head)

    def test_statements_inside_a_function_do_not_hide_its_end(self):
        text = ("void f() {\n  for (int i = 0; i < 3; ++i) {\n    g([] { h(); });\n  }\n}\n" * 30)
        self.assertEqual(self.findings(source_rules.check, "gpu/a.cpp", text), [])
        self.assertEqual(len(list(source_rules.functions(text))), 30)


class HeaderTest(TreeTest):
    def test_headers_start_with_their_reason(self):
        self.assert_rule("header", "gpu/a.hpp", "#pragma once\n\nint x;\n", HEADER)
        self.assert_rule("header", "gpu/a.hpp", "// Why.\n#pragma once\n", HEADER)
        self.assert_rule("header", "gpu/a.hpp", "", "// Rows. Included by tables.hpp only.\n")


class BuildTest(TreeTest):
    def test_dead_files(self):
        tree = self.tree({
            "gpu/CMakeLists.txt": "lib(x SOURCES a.cpp torch/b.cpp) # c.cpp\n",
            "gpu/a.cpp": "", "gpu/torch/b.cpp": "", "gpu/c.cpp": "", "gpu/torch/a.cpp": ""})
        dead = [f.path for f in build_rules.check_sources(tree)]
        self.assertEqual(dead, ["gpu/c.cpp", "gpu/torch/a.cpp"])

    def test_loops_name_files_by_their_words(self):
        tree = self.tree({
            "tests/CMakeLists.txt": "foreach(t one two)\n troupe_test(${t} SOURCES ${t}_test.cpp)",
            "tests/one_test.cpp": "", "tests/three_test.cpp": ""})
        self.assertEqual([f.path for f in build_rules.check_sources(tree)],
                         ["tests/three_test.cpp"])

    def test_test_cases_belong_to_a_test(self):
        case = "BOOST_AUTO_TEST_CASE(x) {}\n"
        tree = self.tree({
            "tests/CMakeLists.txt": "troupe_test(a SOURCES a.cpp)\ntroupe_library(b SOURCES b.cpp)",
            "tests/a.cpp": case, "tests/b.cpp": case})
        self.assertEqual([f.path for f in build_rules.check_tests(tree)], ["tests/b.cpp"])

    def test_formatting_is_checked_when_the_tool_exists(self):
        tree = self.tree({".clang-format": "BasedOnStyle: Google\n", "a.cpp": "int   x ;\n",
                          "b.cpp": "int x;\n"})
        found = build_rules.check_format(tree)
        if found is None:
            self.skipTest("clang-format-14 is not installed")
        self.assertEqual([(f.path, f.rule) for f in found], [("a.cpp", "format")])
        self.assertIsNone(build_rules.check_format(tree, "no-such-program"))


SCHEMA = """struct S {
  a @0 :UInt32;  # b @9 :Text
  body :union {
    unset @1 :Void;
    c @2 :List(Text);
  }
}
enum RunPhase { starting @0; shardLost @1; }
"""
SNAPSHOT = """x.S.a @0 :UInt32
x.S.body.unset @1 :Void
x.S.body.c @2 :List(Text)
x.RunPhase.starting @0
x.RunPhase.shardLost @1
"""


class SchemaTest(TreeTest):
    def growth(self, schema, snapshot=SNAPSHOT):
        tree = self.tree({"messages/schema/x.capnp": schema, schema_rules.SNAPSHOT: snapshot})
        return [f.message for f in schema_rules.check_growth(tree)]

    def test_an_unchanged_schema_passes(self):
        self.assertEqual(self.growth(SCHEMA), [])

    def test_fields_are_never_changed(self):
        for old, new in [("a @0 :UInt32", "a @0 :UInt64"), ("a @0", "b @0"), ("c @2", "c @3"),
                         ("shardLost @1; ", "")]:
            self.assertTrue(any("was changed" in m for m in self.growth(SCHEMA.replace(old, new))),
                            new)

    def test_fields_are_retired_by_name(self):
        found = self.growth(SCHEMA.replace("a @0", "obsoleteA @0"))
        self.assertFalse(any("was changed" in m for m in found))

    def test_new_fields_must_be_committed(self):
        found = self.growth(SCHEMA.replace("enum", "struct T { d @0 :Bool; }\nenum"))
        self.assertEqual(len(found), 1)
        self.assertIn("x.T.d @0 :Bool", found[0])

    def test_wire_enumerators_are_the_domain_s(self):
        good = HEADER + "enum class run_phase : int { starting = 0, shard_lost = 1, };\n"
        for text, count in [(good, 0), (good.replace("= 1", "= 2"), 1),
                            (good.replace("starting", "begun"), 1), (HEADER, 1)]:
            tree = self.tree({"messages/schema/x.capnp": SCHEMA, "messages/training.hpp": text})
            self.assertEqual(len(schema_rules.check_enums(tree)), count, text)


if __name__ == "__main__":
    unittest.main()
