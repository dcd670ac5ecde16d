"""Client programs that end before their work does: a loop that is killed goes on from its cursor to
the weights of one that lived, and a client with open requests ends in order.

Usage: loops_test.py TROUPE_PROGRAM LEAVING_CLIENT_PROGRAM
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

CLIENT = str(pathlib.Path(sys.argv.pop()).resolve())
PROGRAM = str(pathlib.Path(sys.argv.pop()).resolve())
DEADLINE_S = 180
STEPS = 24


class Loops(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-loops-")).resolve()
        subprocess.run([PROGRAM, "model", "create", "model", "--hidden", "32", "--layers", "2"],
                       cwd=self.folder, check=True, capture_output=True)
        chance = random.Random(1)
        rows = [{"tokens": [chance.randrange(256) for _ in range(400)], "weights": [1.0] * 400}
                for _ in range(24)]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (self.folder / "cluster.toml").write_text(
            "[cluster]\nname = 'loops'\n[trainers]\ncount = 2\n[gateway]\nstart = 'off'\n")
        self.cluster = subprocess.Popen([PROGRAM, "up", "cluster.toml"], cwd=self.folder, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = self.cluster.stdout.readline()
        if "is up" not in line:
            raise AssertionError(line + self.cluster.stdout.read())
        self.drain = subprocess.Popen(["cat"], stdin=self.cluster.stdout, stdout=subprocess.DEVNULL)

    def tearDown(self):
        self.cluster.send_signal(signal.SIGINT)
        self.cluster.wait(timeout=DEADLINE_S)
        self.drain.wait(timeout=DEADLINE_S)
        self.cluster.stdout.close()
        shutil.rmtree(self.folder)

    def await_nodes(self):
        """A control node that was killed is back, with its trainers."""
        for _ in range(DEADLINE_S):
            done = subprocess.run([PROGRAM, "status", "--json"], cwd=self.folder,
                                  capture_output=True, text=True, timeout=DEADLINE_S)
            nodes = json.loads(done.stdout).get("nodes", []) if done.returncode == 0 else []
            if len([n for n in nodes if n["role"] == "trainer"]) == 2:
                return
        self.fail("the cluster does not come back")

    def start_loop(self, name, *more):
        return subprocess.Popen(
            [PROGRAM, "run", "sft", "--model", "model", "--data", "rows.jsonl", "--ranks", "2",
             "--steps", str(STEPS), "--batch-size", "6", "--name", name, "--json", *more],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def committed(self, name):
        done = subprocess.run([PROGRAM, "status", "--json"], cwd=self.folder, capture_output=True,
                              text=True, timeout=DEADLINE_S)
        runs = json.loads(done.stdout).get("runs", []) if done.returncode == 0 else []
        return next((r["committed_seq_id"] for r in runs if r["run"] == name), 0)

    def finish(self, loop):
        out, problem = loop.communicate(timeout=DEADLINE_S)
        self.assertEqual(loop.returncode, 0, out + problem)
        return json.loads(out)

    def test_a_killed_loop_goes_on_from_its_cursor(self):
        calm = self.finish(self.start_loop("calm"))
        deaths = []
        for kill_after in (1, 8, 17, 31, 40):
            loop = self.start_loop("killed", "--continue")
            while loop.poll() is None and self.committed("killed") < kill_after:
                pass
            if loop.poll() is None:
                loop.kill()
                deaths.append(self.committed("killed"))
            loop.communicate(timeout=DEADLINE_S)
        self.assertGreater(len(deaths), 2)
        ended = self.finish(self.start_loop("killed", "--continue"))
        self.assertEqual(ended["step"], calm["step"])
        self.assertEqual(ended["weights_digest"], calm["weights_digest"], deaths)
        # Each op once: two for every step, and one that saves the result.
        self.assertEqual(self.committed("killed"), self.committed("calm"))

    def test_a_loop_does_not_go_on_with_nothing(self):
        nameless = subprocess.run([PROGRAM, "run", "sft", "--model", "model", "--data",
                                   "rows.jsonl", "--continue"], cwd=self.folder,
                                  capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(nameless.returncode, 1)
        self.assertIn("--name", nameless.stderr)

    def leave(self, name, mode, disturb=None):
        client = subprocess.Popen([CLIENT, "troupe-data", str(self.folder / "model"), name, mode],
                                  cwd=self.folder, text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(client.stdout.readline(), "submitted\n")
        if disturb:
            disturb()
        out, problem = client.communicate("go\n", timeout=DEADLINE_S)
        self.assertEqual((client.returncode, out, problem), (0, "", ""))

    def signal_control(self, which):
        os.kill(processes_of(self.folder)["control"], which)

    def test_a_client_ends_in_order_with_open_requests(self):
        self.leave("open", "now")

    def test_a_client_ends_in_order_without_its_control_node(self):
        for i in range(2):
            self.await_nodes()
            self.leave(f"lost-{i}", "now", lambda: self.signal_control(signal.SIGKILL))

    def test_a_client_ends_in_order_after_another_control_node_answered(self):
        self.leave("found", "answered", lambda: self.signal_control(signal.SIGKILL))

    def test_a_client_ends_in_order_beside_a_paused_control_node(self):
        self.leave("paused", "now", lambda: self.signal_control(signal.SIGSTOP))
        self.signal_control(signal.SIGCONT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
