"""Every process killed at every phase of its work: training, snapshots, weight sync, trimming,
loading and starting. Each cell starts a cluster whose processes are armed to kill (or stop)
themselves there once, trains, and must end with the weights of an undisturbed run.

TROUPE_KILL_MATRIX=all runs every cell, a comma-separated list those, nothing a sample.
Usage: kill_matrix_test.py TROUPE_PROGRAM
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from node_processes import processes_of

PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
DEADLINE_S = 180
LOST_RANK = "trainer-0:crash@t7#5,"

# Cell -> (loop, armed points). The last point is the one that must be met.
CELLS = {}
for phase in ("t0", "t1", "t2", "t8", "t9", "t10"):
    CELLS[f"control-{phase}"] = ("sft", f"control:crash@{phase}#7")
for phase in ("s1", "s5", "s6"):
    CELLS[f"control-{phase}"] = ("sft", f"control:crash@{phase}#2")
for phase in ("w1", "w2", "w3"):
    CELLS[f"control-{phase}"] = ("grpo", f"control:crash@{phase}#2")
for phase in ("w1", "w3"):
    CELLS[f"sampler-{phase}"] = ("grpo", f"sampler-0:crash@{phase}#2")
for rank in (0, 1):
    for phase in ("t3", "t4", "t5", "t6", "t7"):
        CELLS[f"rank{rank}-{phase}"] = ("sft", f"trainer-{rank}:crash@{phase}#6")
    for phase in ("s2", "s3", "s4"):
        CELLS[f"rank{rank}-{phase}"] = ("sft", f"trainer-{rank}:crash@{phase}#2")
CELLS["rank0-l1"] = ("sft", LOST_RANK.replace("0", "1", 1) + "trainer-0:crash@l1#2")
CELLS["rank1-l1"] = ("sft", LOST_RANK + "trainer-1:crash@l1#2")
CELLS["control-l2"] = ("sft", LOST_RANK + "control:crash@l2#3")
CELLS["control-b1"] = ("sft", "control:crash@b1#1")
CELLS["control-b2"] = ("sft", LOST_RANK + "control:crash@b2#1")
CELLS["control-b3"] = ("sft", LOST_RANK + "control:crash@b3#1")
CELLS["rank0-stop"] = ("sft", "trainer-0:stop@t4#6")
CELLS["rank1-stop"] = ("sft", "trainer-1:stop@t7#6")
CELLS["control-stop"] = ("sft", "control:stop@t9#7")

SAMPLE = ("control-t9", "control-s6", "rank1-t6", "rank0-stop")


def chosen_cells():
    wanted = os.environ.get("TROUPE_KILL_MATRIX", "")
    if wanted == "all":
        return list(CELLS)
    return wanted.split(",") if wanted else list(SAMPLE)


LOOPS = {
    "sft": ["sft", "--model", "model", "--data", "rows.jsonl", "--ranks", "2", "--steps", "12",
            "--batch-size", "8"],
    "grpo": ["grpo", "--model", "model", "--ranks", "2", "--steps", "4", "--questions", "4",
             "--answers", "2", "--max-tokens", "3"],
}


class Cluster:
    """`troupe up` in a folder of its own, armed."""

    def __init__(self, folder, points):
        self.folder = folder
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.points = [p for p in points.split(",") if p]
        # A point at a start is armed only later: marks say "met".
        self.held = [p for p in self.points if "@b1#" in p]
        for point in self.held:
            (self.marks / point).touch()
        environment = {**os.environ, "TROUPE_FAILPOINT": points,
                       "TROUPE_FAILPOINT_FOLDER": str(self.marks)}
        self.process = subprocess.Popen([PROGRAM, "up", "cluster.toml"], cwd=folder, text=True,
                                        env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        line = self.process.stdout.readline()
        if "is up" not in line:
            raise AssertionError(line + self.process.stdout.read())
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout,
                                      stdout=subprocess.DEVNULL)

    def nodes(self):
        return processes_of(self.folder)

    def release_held(self):
        for point in self.held:
            (self.marks / point).unlink()
            os.kill(self.nodes()[point.split(":")[0]], signal.SIGKILL)

    def stopped(self):
        """Processes that a stop point has halted."""
        out = []
        for name, pid in self.nodes().items():
            try:
                state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if state == "T":
                out.append((name, pid))
        return out

    def resume(self, only=""):
        for name, pid in self.stopped():
            if name.startswith(only):
                os.kill(pid, signal.SIGCONT)

    def close(self):
        self.resume()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=DEADLINE_S)
        self.drain.wait(timeout=DEADLINE_S)
        self.process.stdout.close()


class KillMatrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="troupe-matrix-")).resolve()
        subprocess.run([PROGRAM, "model", "create", "model", "--hidden", "32", "--layers", "2"],
                       cwd=cls.base, check=True, capture_output=True)
        chance = random.Random(1)
        rows = [{"tokens": [chance.randrange(256) for _ in range(800)], "weights": [1.0] * 800}
                for _ in range(32)]
        (cls.base / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (cls.base / "cluster.toml").write_text(
            "[cluster]\nname = 'matrix'\nsnapshot_every_steps = 2\n"
            "[trainers]\ncount = 3\n[gateway]\nstart = 'off'\n")
        cls.calm = {}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.base)

    def make_folder(self, name):
        folder = self.base / name
        folder.mkdir()
        for shared in ("model", "rows.jsonl", "cluster.toml"):
            (folder / shared).symlink_to(self.base / shared)
        return folder

    def weights_of(self, cluster, loop, while_running=None):
        run = subprocess.Popen([PROGRAM, "run", *LOOPS[loop], "--name", "run", "--json"],
                               cwd=cluster.folder, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        if while_running:
            while_running(cluster, run)
        out, problem = run.communicate(timeout=DEADLINE_S)
        self.assertEqual(run.returncode, 0, out + problem)
        return json.loads(out)["weights_digest"]

    def expected(self, loop):
        if loop not in self.calm:
            cluster = Cluster(self.make_folder(f"calm-{loop}"), "")
            try:
                self.calm[loop] = self.weights_of(cluster, loop)
            finally:
                cluster.close()
        return self.calm[loop]

    def wait_for_ops(self, cluster, run, num_ops):
        while run.poll() is None:
            status = subprocess.run([PROGRAM, "status", "--json"], cwd=cluster.folder,
                                    capture_output=True, text=True, timeout=DEADLINE_S)
            now = json.loads(status.stdout or "{}")
            if any(r["committed_seq_id"] >= num_ops for r in now.get("runs", [])):
                return

    def drive(self, cluster, run):
        """Arms what was held; lets a stopped control node go on: nobody can replace it."""
        if cluster.held:
            self.wait_for_ops(cluster, run, 5)
            cluster.release_held()
        met = cluster.marks / cluster.points[-1]
        is_stop = cluster.points[-1].startswith("control:stop")
        while is_stop and run.poll() is None:
            if met.exists():
                # Longer than a lease, which is what a paused node loses.
                try:
                    run.wait(timeout=4)
                except subprocess.TimeoutExpired:
                    pass
                cluster.resume("control")
                return
            try:
                run.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                pass

    def check_cell(self, name):
        loop, points = CELLS[name]
        wanted = self.expected(loop)
        cluster = Cluster(self.make_folder(name), points)
        try:
            self.assertEqual(self.weights_of(cluster, loop, self.drive), wanted)
            self.assertTrue((cluster.marks / points.split(",")[-1]).exists(), "never met")
            # A zombie goes on and finds itself replaced; the cluster takes another run.
            cluster.resume()
            events = subprocess.run([PROGRAM, "run", "events", "run", "--json"],
                                    cwd=cluster.folder, capture_output=True, text=True,
                                    timeout=DEADLINE_S, check=True)
            kinds = [e["kind"] for e in json.loads(events.stdout)["events"]]
            self.assertNotIn("rolled_back", kinds)
        finally:
            cluster.close()
        shutil.rmtree(cluster.folder)

    def test_a_trainer_told_to_go_costs_no_op(self):
        wanted = self.expected("sft")
        cluster = Cluster(self.make_folder("notice"), "")
        left = []

        def tell_one(_, run):
            self.wait_for_ops(cluster, run, 5)
            left.append(cluster.nodes()["trainer-0"])
            os.kill(left[0], signal.SIGTERM)

        try:
            self.assertEqual(self.weights_of(cluster, "sft", tell_one), wanted)
            events = subprocess.run([PROGRAM, "run", "events", "run", "--json"],
                                    cwd=cluster.folder, capture_output=True, text=True,
                                    timeout=DEADLINE_S, check=True)
            events = json.loads(events.stdout)["events"]
            kinds = [e["kind"] for e in events]
            self.assertIn("leaving", kinds)
            self.assertNotIn("shard_lost", kinds)
            self.assertEqual([e["ops_replayed"] for e in events if e["kind"] == "resumed"], [0])
            self.assertNotIn("trainer-0", cluster.nodes())
        finally:
            cluster.close()

    def test_cells(self):
        for name in chosen_cells():
            with self.subTest(cell=name):
                self.check_cell(name)
                print(f"{name}: ok", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
