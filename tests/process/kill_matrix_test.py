"""Every process killed at every phase of its work: training, snapshots, weight sync, folding,
collecting garbage, loading and starting. Each cell starts a cluster whose processes are armed to
kill (or stop) themselves there once, trains, and must end with the weights of an undisturbed run.
What was stopped goes on when the run is over, or when nobody can replace it, and changes nothing.

TROUPE_KILL_MATRIX=all runs every cell, a comma-separated list those, nothing a sample.
Usage: kill_matrix_test.py TROUPE_PROGRAM
"""

import hashlib
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

from node_processes import command_of, ends_within, processes_of

PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
DEADLINE_S = 180
LOST_RANK = "trainer-0:crash@t7#5,"
LONGER_THAN_A_LEASE_S = 4
ORPHANS = 3

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
for phase in ("f1", "f2", "f3"):
    CELLS[f"control-{phase}"] = ("chain", f"control:crash@{phase}#1")
for phase, hit in (("g1", 3), ("g2", 1), ("g3", 2), ("g4", 1)):
    CELLS[f"control-{phase}"] = ("sft", f"control:crash@{phase}#{hit}")
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
for phase in ("t4", "t6", "t7"):
    CELLS[f"rank0-stop-{phase}"] = ("sft", f"trainer-0:stop@{phase}#6")
for phase in ("t3", "s3"):
    CELLS[f"rank1-stop-{phase}"] = ("sft", f"trainer-1:stop@{phase}#2")
for phase in ("w1", "w3"):
    CELLS[f"sampler-stop-{phase}"] = ("grpo", f"sampler-0:stop@{phase}#2")
for phase in ("t2", "t8", "t9"):
    CELLS[f"control-stop-{phase}"] = ("sft", f"control:stop@{phase}#7")
for phase in ("s5", "g3"):
    CELLS[f"control-stop-{phase}"] = ("sft", f"control:stop@{phase}#2")
CELLS["control-stop-w2"] = ("grpo", "control:stop@w2#2")

SAMPLE = ("control-t9", "control-s6", "control-f2", "control-g3", "rank1-t6", "rank0-stop-t4",
          "sampler-stop-w3")


def chosen_cells():
    wanted = os.environ.get("TROUPE_KILL_MATRIX", "")
    if wanted == "all":
        return list(CELLS)
    return wanted.split(",") if wanted else list(SAMPLE)


GRPO = ["grpo", "--model", "model", "--ranks", "2", "--questions", "4", "--answers", "2",
        "--max-tokens", "3"]
LOOPS = {
    "sft": ["sft", "--model", "model", "--data", "rows.jsonl", "--ranks", "2", "--steps", "12",
            "--batch-size", "8"],
    "grpo": [*GRPO, "--steps", "4"],
    # Eight small deltas behind one base: enough for a fold.
    "chain": [*GRPO, "--steps", "11", "--learning-rate", "1e-6"],
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

    def has_met(self):
        """The last point."""
        return bool(self.points) and (self.marks / self.points[-1]).exists()

    def last_point(self):
        return self.points[-1] if self.points else ""

    def release_held(self):
        for point in self.held:
            (self.marks / point).unlink()
            os.kill(self.nodes()[point.split(":")[0]], signal.SIGKILL)

    def stopped(self):
        """Name -> process, of those that a stop point has halted."""
        out = {}
        for name, pid in self.nodes().items():
            try:
                state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if state == "T":
                out[name] = pid
        return out

    def resume(self):
        went_on = self.stopped()
        for pid in went_on.values():
            os.kill(pid, signal.SIGCONT)
        return went_on

    def command(self, *words, check=True):
        return subprocess.run([PROGRAM, *words], cwd=self.folder, capture_output=True, text=True,
                              timeout=DEADLINE_S, check=check)

    def plant_orphans(self):
        """Blobs that no record names, older than any grace."""
        paths = []
        for i in range(ORPHANS):
            content = f"nobody needs this, {i}".encode()
            name = hashlib.sha256(content).hexdigest()
            path = self.folder / "troupe-data" / "blobs" / name[:2] / name[2:]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            os.utime(path, (1_000_000_000, 1_000_000_000))
            paths.append(path)
        return paths

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
            "[trainers]\ncount = 3\n[samplers]\ncount = 2\n[gateway]\nstart = 'off'\n")
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

    def weights_of(self, cluster, loop, while_running=None, name="run"):
        run = subprocess.Popen([PROGRAM, "run", *LOOPS[loop], "--name", name, "--json"],
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
            now = json.loads(cluster.command("status", "--json", check=False).stdout or "{}")
            if any(r["committed_seq_id"] >= num_ops for r in now.get("runs", [])):
                return

    def drive(self, cluster, run):
        """Brings the run to the armed point, and a stopped control node beyond it."""
        if cluster.held:
            self.wait_for_ops(cluster, run, 5)
            cluster.release_held()
        point = cluster.last_point()
        if "@g" in point:
            self.collect_garbage_until_met(cluster, run)
        if not point.startswith("control:stop"):
            return
        while run.poll() is None and not cluster.has_met():
            self.pause_for(run, 0.05)
        if run.poll() is None:
            self.check_that_a_second_one_is_refused(cluster)
            self.pause_for(run, LONGER_THAN_A_LEASE_S)
        cluster.resume()

    def pause_for(self, run, seconds):
        try:
            run.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            pass

    def collect_garbage_until_met(self, cluster, run):
        self.wait_for_ops(cluster, run, 2)
        while run.poll() is None and not cluster.has_met():
            cluster.plant_orphans()
            # The control node dies, or stops, in the middle of it.
            asked = subprocess.Popen([PROGRAM, "checkpoint", "gc", "--json"], cwd=cluster.folder,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while asked.poll() is None and not cluster.has_met():
                self.pause_for(run, 0.02)
            if "control:stop" in cluster.last_point():
                asked.kill()
            asked.wait(timeout=DEADLINE_S)

    def check_that_a_second_one_is_refused(self, cluster):
        """A paused control node still holds its data folder: nobody may write there beside it."""
        command = command_of(cluster.stopped()["control"])
        unarmed = {k: v for k, v in os.environ.items() if not k.startswith("TROUPE_FAILPOINT")}
        second = subprocess.run(command, cwd=cluster.folder, env=unarmed, capture_output=True,
                                text=True, timeout=DEADLINE_S)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(str(cluster.folder / "troupe-data"), second.stdout + second.stderr)

    def check_zombies(self, cluster, loop, wanted):
        """What was replaced while it was stopped goes on, finds that out and ends; the cluster
        serves the next run as if nothing had been."""
        zombies = cluster.resume()
        if not zombies:
            return
        for name, pid in zombies.items():
            self.assertTrue(ends_within(pid, DEADLINE_S), f"{name} stays")
        self.assertEqual(self.weights_of(cluster, loop, name="after"), wanted)

    def check_garbage(self, cluster):
        """Nothing that is needed went, and what nobody needs goes in the end."""
        if "@g" not in cluster.last_point():
            return
        orphans = cluster.plant_orphans()
        cluster.command("checkpoint", "gc", "--json")
        self.assertFalse([o for o in orphans if o.exists()])
        known = json.loads(cluster.command("checkpoint", "list", "--json").stdout)["checkpoints"]
        self.assertTrue(known)
        for each in known:
            cluster.command("checkpoint", "verify", each["checkpoint"])

    def check_cell(self, name):
        loop, points = CELLS[name]
        wanted = self.expected(loop)
        cluster = Cluster(self.make_folder(name), points)
        try:
            self.assertEqual(self.weights_of(cluster, loop, self.drive), wanted)
            self.assertTrue(cluster.has_met(), "never met")
            self.check_zombies(cluster, loop, wanted)
            self.check_garbage(cluster)
            events = cluster.command("run", "events", "run", "--json")
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
            events = json.loads(cluster.command("run", "events", "run", "--json").stdout)["events"]
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
