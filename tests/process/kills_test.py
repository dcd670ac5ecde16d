"""Faults of whatever process of a cluster, again and again, while a run trains: SIGKILL, a pause
that outlasts a lease (SIGSTOP, and SIGCONT when others have taken over), the notice of SIGTERM. The
run ends with the weights of an undisturbed one, and says how each recovery went.

The faults are tied to the run's own progress, never to elapsed time. TROUPE_KILLS and
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

from node_processes import command_of, processes_of

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


# A signal and whom it meets; of those there are, chance takes one.
FAULTS = [(signal.SIGKILL, "control"), (signal.SIGKILL, "trainer"), (signal.SIGKILL, "sampler"),
          (signal.SIGKILL, "trainer"), (signal.SIGSTOP, "trainer"), (signal.SIGSTOP, "control"),
          (signal.SIGTERM, "trainer")]


class Kills(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-kills-")).resolve()
        troupe("model", "create", "model", "--hidden", 32, "--layers", 2, folder=self.folder)
        rows = [{"prompt": f"{i % 7}+{i % 5}=", "completion": f"{i % 7 + i % 5}\n"}
                for i in range(64)]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (self.folder / "cluster.toml").write_text(
            "[cluster]\nname = 'kills'\n[trainers]\ncount = 3\n[gateway]\nstart = 'off'\n")
        self.cluster = subprocess.Popen([PROGRAM, "up", "cluster.toml"], cwd=self.folder, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.paused = {}    # (process id, role) -> op at which it was stopped
        self.departed = []
        self.commands = {}  # name -> how it was started
        self.guests = {}    # name -> the process, of nodes that no launcher looks after any more
        self.assertIn("is up", self.cluster.stdout.readline())
        self.drain = subprocess.Popen(["cat"], stdin=self.cluster.stdout,
                                      stdout=subprocess.DEVNULL)

    def tearDown(self):
        self.resume(0)
        self.cluster.send_signal(signal.SIGINT)
        self.cluster.wait(timeout=DEADLINE_S)
        for guest in [*self.guests.values(), *self.departed]:
            if guest is not None:
                guest.wait(timeout=DEADLINE_S)
        self.drain.wait(timeout=DEADLINE_S)
        self.cluster.stdout.close()
        shutil.rmtree(self.folder)

    def resume(self, seq_id):
        """The paused go on once the run has: replaced, they find out; a control node cannot be."""
        for (pid, role), since in list(self.paused.items()):
            if role != "control" and 0 < seq_id <= since:
                continue
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
            del self.paused[pid, role]

    def disturb(self, chance, seq_id, met):
        which, role = chance.choice(FAULTS)
        alive = {name: pid for name, pid in processes_of(self.folder).items()
                 if name.startswith(role) and (pid, role) not in self.paused}
        # The run needs two trainers that are not paused.
        if which == signal.SIGSTOP and role == "trainer" and (self.paused or len(alive) < 3):
            which = signal.SIGKILL
        if not alive:
            return
        name = chance.choice(sorted(alive))
        self.commands.setdefault(name, command_of(alive[name]))
        os.kill(alive[name], which)
        met.append((seq_id, which.name, name))
        if which == signal.SIGSTOP:
            self.paused[alive[name], role] = seq_id
            if role == "control":
                # Nobody can say how the run stands: it pauses for longer than a lease.
                try:
                    self.cluster.wait(timeout=4)
                except subprocess.TimeoutExpired:
                    self.resume(0)
        elif which == signal.SIGTERM:
            # It was asked to go, so the launcher lets it; another is started in its place by hand.
            self.departed.append(self.guests.get(name))
            self.guests[name] = None

    def start_guests(self):
        for name, process in self.guests.items():
            if process is not None and process.poll() is None:
                continue
            if process is None and name in processes_of(self.folder):
                continue  # on its way out
            log = (self.folder / f"{name}.log").open("ab")
            self.guests[name] = subprocess.Popen(self.commands[name], cwd=self.folder, stdout=log,
                                                 stderr=log)
            log.close()

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
            self.start_guests()
            now = self.committed(name)
            if now:
                self.resume(now["committed_seq_id"])
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
                met = []

                def disturb(seq_id):
                    if len(met) < NUM_KILLS:
                        self.disturb(chance, seq_id, met)

                stormy = self.train(f"storm-{seed}", disturb)
                self.assertEqual(stormy, calm, met)
                self.assertGreater(len(met), 0)
                events = json.loads(troupe("run", "events", f"storm-{seed}", "--json",
                                           folder=self.folder))["events"]
                resumed = [e for e in events if e["kind"] == "resumed"]
                self.assertTrue(all(e["bit_exact"] for e in resumed))
                self.assertFalse([e for e in events if e["kind"] == "rolled_back"])
                kinds = [f"{signal_name} {name.split('-')[0]}" for _, signal_name, name in met]
                seconds = sorted(e["seconds"] for e in resumed)
                print(f"seed {seed}: {len(met)} faults "
                      f"{dict((k, kinds.count(k)) for k in sorted(set(kinds)))}; "
                      f"{len(resumed)} recoveries, {sum(e['ops_replayed'] for e in resumed)} ops "
                      f"repeated of {events[-1]['seq_id']}, median "
                      f"{seconds[len(seconds) // 2]:.2f} s, longest {seconds[-1]:.2f} s",
                      flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
