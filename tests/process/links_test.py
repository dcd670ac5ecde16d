"""Links that break while the processes at their ends live on: between a loop and its cluster, and
between a trainer and the control node. The run must end with the weights of an undisturbed one.

Usage: links_test.py TROUPE_PROGRAM TROUPE_NODE_PROGRAM
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from tcp_proxy import TcpProxy

NODE_PROGRAM = str(pathlib.Path(sys.argv.pop(2)).resolve())
PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
DEADLINE_S = 120


class Links(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-links-")).resolve()
        self.data = self.folder / "troupe-data"
        self.ended = []
        self.troupe("model", "create", "model", "--hidden", 32, "--layers", 2)
        rows = [{"prompt": f"{i % 7}+{i % 5}=", "completion": f"{i % 7 + i % 5}\n"}
                for i in range(64)]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (self.folder / "c.toml").write_text(
            "[trainers]\ncount = 2\n[samplers]\ncount = 0\n[gateway]\nstart = 'off'\n")
        self.cluster = subprocess.Popen([PROGRAM, "up", "c.toml"], cwd=self.folder, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertIn("is up", self.cluster.stdout.readline())
        self.drain = subprocess.Popen(["cat"], stdin=self.cluster.stdout,
                                      stdout=subprocess.DEVNULL)
        endpoint = json.loads((self.data / "cluster.json").read_text())
        self.proxy = TcpProxy(endpoint["port"])
        # The same cluster, seen through the proxy.
        self.seen = self.folder / "seen-data"
        self.seen.mkdir()
        for shared in ("tls", "blobs", "tmp"):
            (self.seen / shared).symlink_to(self.data / shared)
        (self.seen / "cluster.json").write_text(json.dumps({**endpoint, "port": self.proxy.port}))

    def tearDown(self):
        self.proxy.close()
        for process in self.ended:
            process.terminate()
            process.wait(timeout=DEADLINE_S)
        self.cluster.terminate()
        self.cluster.wait(timeout=DEADLINE_S)
        self.drain.wait(timeout=DEADLINE_S)
        self.cluster.stdout.close()
        shutil.rmtree(self.folder)

    def troupe(self, *words):
        done = subprocess.run([PROGRAM, *map(str, words)], cwd=self.folder, capture_output=True,
                              text=True, timeout=DEADLINE_S, check=True)
        return done.stdout

    def train(self, name, data_folder, meanwhile=None, ranks=2):
        run = subprocess.Popen(
            [PROGRAM, "run", "sft", "--model", "model", "--data", "rows.jsonl", "--ranks",
             str(ranks), "--steps", "150", "--batch-size", "8", "--name", name, "--json",
             "--data-folder", str(data_folder)],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if meanwhile:
            meanwhile(run)
        self.wait_while_it_goes_on(name, run)
        out, problem = run.communicate(timeout=DEADLINE_S)
        self.assertEqual(run.returncode, 0, problem)
        return json.loads(out)["weights_digest"]

    def wait_while_it_goes_on(self, name, run):
        """A starved machine is slow, and no matter; a run that commits nothing hangs."""
        last, since = None, time.monotonic()
        while run.poll() is None:
            try:
                run.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
            now = self.committed(name)
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > DEADLINE_S:
                run.kill()
                self.fail(f"nothing was committed after op {last} for {DEADLINE_S} s:\n"
                          + self.troupe("status") + self.troupe("run", "events", name)
                          + "".join(run.communicate()))

    def committed(self, name):
        runs = json.loads(self.troupe("status", "--json"))["runs"]
        return next((r["committed_seq_id"] for r in runs if r["run"] == name), 0)

    def wait_for_op(self, name, seq_id, run):
        begun = time.monotonic()
        while self.committed(name) < seq_id and run.poll() is None:
            self.assertLess(time.monotonic() - begun, DEADLINE_S)

    def test_a_loop_whose_link_is_cut_goes_on(self):
        calm = self.train("calm", self.data)

        def cut_often(run):
            for seq_id in (40, 90, 140):
                self.wait_for_op("cut", seq_id, run)
                self.proxy.cut()

        self.assertEqual(self.train("cut", self.seen, cut_often), calm)

    def test_a_slow_link_only_delays(self):
        calm = self.train("calm", self.data)
        self.proxy.delay_s = 0.005
        self.assertEqual(self.train("slow", self.seen), calm)

    def test_a_trainer_behind_a_dead_link_is_replaced_and_fenced(self):
        calm = self.train("calm", self.data)
        spare = subprocess.Popen(
            [NODE_PROGRAM, "--role", "trainer", "--name", "a-remote", "--data-folder",
             str(self.seen)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.ended.append(spare)
        begun = time.monotonic()
        while "a-remote" not in self.troupe("status"):
            self.assertLess(time.monotonic() - begun, DEADLINE_S)

        def fall_silent(run):
            self.wait_for_op("silent", 40, run)
            self.proxy.is_silent.set()

        # By name it is the first of three idle nodes, so it hosts a rank.
        self.assertEqual(self.train("silent", self.data, fall_silent), calm)
        events = json.loads(self.troupe("run", "events", "silent", "--json"))["events"]
        self.assertTrue(any("fell silent" in e["detail"] for e in events), events)
        # What it still has to say when the link is back changes nothing, and it leaves.
        self.proxy.is_silent.clear()
        self.assertNotEqual(spare.wait(timeout=DEADLINE_S), 0)
        self.assertEqual(self.train("after", self.data), calm)


if __name__ == "__main__":
    unittest.main(verbosity=2)
