"""SIGKILL to whatever process of a cluster, again and again, while a run trains: the run ends with
the weights of an undisturbed one, and says how each recovery went.

The kills are tied to the run's own progress, never to elapsed time. TROUPE_KILLS and
TROUPE_KILL_SEEDS make long runs of the same test.
Usage: kills_test.py TROUPE_PROGRAM
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
NUM_KILLS = int(os.environ.get("TROUPE_KILLS", "6"))
SEEDS = range(1, 1 + int(os.environ.get("TROUPE_KILL_SEEDS", "1")))
OPS_BETWEEN_KILLS = 30
STEPS = (NUM_KILLS + 2) * OPS_BETWEEN_KILLS
DEADLINE_S = 120 + 20 * NUM_KILLS


def troupe(*words, folder):
    done = subprocess.run([PROGRAM, *map(str, words)], cwd=folder, capture_output=True, text=True,
                          timeout=DEADLINE_S, check=True)
    return done.stdout


class Kills(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-kills-")).resolve()
        troupe("model", "create", "model", "--hidden", 32, "--layers", 2, folder=self.folder)
        rows = [{"prompt": f"{i % 7}+{i % 5}=", "completion": f"{i % 7 + i % 5}\n"}
                for i in range(64)]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        self.cluster = subprocess.Popen([PROGRAM, "up"], cwd=self.folder, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertIn("is up", self.cluster.stdout.readline())
        self.drain = subprocess.Popen(["cat"], stdin=self.cluster.stdout,
                                      stdout=subprocess.DEVNULL)

    def tearDown(self):
        self.cluster.send_signal(signal.SIGINT)
        self.cluster.wait(timeout=DEADLINE_S)
        self.drain.wait(timeout=DEADLINE_S)
        self.cluster.stdout.close()
        shutil.rmtree(self.folder)

    def committed(self, name):
        """The run's last committed op; none while the control node is away."""
        done = subprocess.run([PROGRAM, "status", "--json"], cwd=self.folder, capture_output=True,
                              text=True, timeout=DEADLINE_S)
        if done.returncode != 0:
            return None
        return next((r for r in json.loads(done.stdout)["runs"] if r["run"] == name), None)

    def train(self, name, after_ops):
        """Trains to the end; calls `after_ops` each time some more ops are committed."""
        run = subprocess.Popen(
            [PROGRAM, "run", "sft", "--model", "model", "--data", "rows.jsonl", "--ranks", "2",
             "--steps", str(STEPS), "--batch-size", "8", "--name", name],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seen = 0
        while run.poll() is None and after_ops:
            now = self.committed(name)
            if now and now["committed_seq_id"] >= seen + OPS_BETWEEN_KILLS:
                seen = now["committed_seq_id"]
                after_ops(seen)
        out, _ = run.communicate(timeout=DEADLINE_S)
        self.assertEqual(run.returncode, 0, out)
        return self.committed(name)["weights"]

    def test_kills_change_nothing(self):
        calm = self.train("calm", None)
        for seed in SEEDS:
            with self.subTest(seed=seed):
                chance = random.Random(seed)
                killed = []

                def kill_one(seq_id):
                    alive = processes_of(self.folder)
                    victims = [v for v in ("control", "trainer-0", "trainer-1") if v in alive]
                    if len(killed) < NUM_KILLS and victims:
                        victim = chance.choice(victims)
                        os.kill(alive[victim], signal.SIGKILL)
                        killed.append((seq_id, victim))

                stormy = self.train(f"storm-{seed}", kill_one)
                self.assertEqual(stormy, calm, killed)
                self.assertGreater(len(killed), 0)
                events = json.loads(troupe("run", "events", f"storm-{seed}", "--json",
                                           folder=self.folder))["events"]
                resumed = [e for e in events if e["kind"] == "resumed"]
                self.assertTrue(all(e["bit_exact"] for e in resumed))
                roles = [victim for _, victim in killed]
                print(f"seed {seed}: killed {dict((r, roles.count(r)) for r in set(roles))}; "
                      f"resumed after "
                      f"{[round(e['seconds'], 2) for e in resumed]} s")


if __name__ == "__main__":
    unittest.main(verbosity=2)
