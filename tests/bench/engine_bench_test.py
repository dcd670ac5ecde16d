"""Whether `engine_bench` compares what it says: both sides do the same work, other work is noticed,
and each comparison says what it is measured against.

Oracle: transformers, through the benchmark's own baseline.
Usage: engine_bench_test.py ENGINE_BENCH_PROGRAM
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
DEADLINE_S = 300

# A baseline whose folder was changed by the lines in the middle.
CHANGED_BASELINE = """#!{python}
import json, os, pathlib, shutil, sys, tempfile
import safetensors.torch
with tempfile.TemporaryDirectory(dir={place!r}) as changed:
    folder = pathlib.Path(changed) / "work"
    shutil.copytree(sys.argv[2], folder)
    {change}
    status = os.spawnv(os.P_WAIT, sys.executable,
                       [sys.executable, sys.argv[1], str(folder), *sys.argv[3:]])
sys.exit(status)
"""
OTHER_TARGET = """
    work = json.loads((folder / "work.json").read_text())
    work["batch"][0]["targets"][3] ^= 1
    (folder / "work.json").write_text(json.dumps(work))"""
OTHER_WEIGHT = """
    file = folder / "model" / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    weights["model.norm.weight"] *= 1.001
    safetensors.torch.save_file(weights, file, {"format": "pt"})"""
OTHER_ADAM = """
    work = json.loads((folder / "work.json").read_text())
    work["adam"]["learning_rate"] *= 1.1
    (folder / "work.json").write_text(json.dumps(work))"""

OF_THE_ENGINE = {"one_shot_over_two_phase", "double_pass_over_two_phase", "full_over_adapters",
                 "on_demand_over_ahead"}
WITH_THE_BASELINE = {"fp32", "bf16_over_fp32", "bf16_over_autocast", "bf16_rounding", "memory"}


class EngineBench(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="troupe-engine-bench-")
        self.addCleanup(self.scratch.cleanup)
        self.place = pathlib.Path(self.scratch.name)
        (self.place / "temporary").mkdir()

    def bench(self, workload, baseline=None):
        # One thread: where other work takes a core, two that wait for each other take seconds.
        words = [PROGRAM, "--workload", workload, "--rounds", "1", "--steps", "1", "--threads", "1"]
        if baseline is not None:
            words += ["--baseline", str(baseline)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S,
                              env={**os.environ, "TMPDIR": str(self.place / "temporary")})
        self.assertEqual(list((self.place / "temporary").glob("troupe.*")), [], "left behind")
        return done

    def row(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        (row,) = json.loads(done.stdout)["rows"]
        return row

    def comparisons(self, row):
        found = {name for name, part in row.items() if isinstance(part, dict) and "ratio" in part}
        for name in found:
            self.assertGreater(row[name]["ratio"], 0, name)
            self.assertGreater(row[name]["goal"], 0, name)
        return found

    def changed(self, change):
        program = self.place / "changed_baseline"
        program.write_text(CHANGED_BASELINE.format(python=sys.executable, place=str(self.place),
                                                   change=change.strip()))
        program.chmod(0o700)
        return program

    def check_parity(self, row):
        self.assertEqual(set(row["parity"]) - {"steps"},
                         {"first_loss", "gradient_norm", "logprobs", "loss_after_steps"})
        for name in set(row["parity"]) - {"steps"}:
            part = row["parity"][name]
            self.assertLessEqual(part["difference"], part["goal_at_most"], name)

    def test_equal_lengths_are_compared(self):
        row = self.row(self.bench("tiny"))
        self.assertEqual(self.comparisons(row), OF_THE_ENGINE | WITH_THE_BASELINE)
        self.check_parity(row)
        shares = row["outside_products_and_attention"]["share"], row["outside_products"]["share"]
        self.assertTrue(0 < shares[0] < shares[1] < 1, shares)

    def test_mixed_lengths_are_compared_with_every_layout(self):
        row = self.row(self.bench("tiny mixed"))
        self.assertEqual(self.comparisons(row),
                         OF_THE_ENGINE | WITH_THE_BASELINE | {"fp32_over_padded"})
        self.check_parity(row)
        self.assertLessEqual(row["fp32"]["ratio"], row["fp32_over_padded"]["ratio"])

    def test_other_work_is_noticed(self):
        for change, part in ((OTHER_TARGET, "logprobs"), (OTHER_WEIGHT, "logprobs"),
                             (OTHER_ADAM, "loss_after_steps")):
            done = self.bench("tiny", self.changed(change))
            self.assertEqual(done.returncode, 1, change)
            self.assertRegex(done.stderr, rf"tiny: the engine and transformers are apart.*{part}")

    def test_a_change_that_is_none_is_no_difference(self):
        self.check_parity(self.row(self.bench("tiny", self.changed("pass"))))

    def test_it_works_without_a_baseline(self):
        row = self.row(self.bench("tiny", ""))
        self.assertEqual(self.comparisons(row), OF_THE_ENGINE)
        self.assertNotIn("parity", row)

    def test_a_baseline_that_fails_is_named(self):
        done = self.bench("tiny", "/bin/false")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/bin/false", done.stderr)

    def test_an_unknown_workload_names_the_known_ones(self):
        done = self.bench("tine")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "'tine'.*'tiny mixed'")


if __name__ == "__main__":
    unittest.main()
