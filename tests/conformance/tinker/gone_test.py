"""A program that is killed takes its samples with it: they leave the sampler, while those of who
still waits go on.

Usage: gone_test.py FOLDER_OF_PROGRAMS
"""

import os
import pathlib
import subprocess
import sys
import threading
import time
import unittest

from live_cluster import LiveCluster
from raw_client import Client, tokens_of

PROGRAMS = ""
# Its keys and values alone keep the sampler busy for longer than a sample may take.
POSITIONS = 60_000
NUM_SAMPLES = 4
VICTIM = f"""
import tinker
from tinker import types

client = tinker.ServiceClient().create_sampling_client(base_model="tiny").result()
params = types.SamplingParams(max_tokens={POSITIONS - 10}, stop=[])
drawn = [client.sample(types.ModelInput.from_ints([1, 2, n]), 8, params)
         for n in range({NUM_SAMPLES})]
for one in drawn:
    one.result()
"""
# A poll that was under way counts for 30 s, then 60 s without one.
GONE_S = 90
SLACK_S = 30
LOOK_AGAIN_S = 0.2


class Gone(unittest.TestCase):
    def setUp(self):
        self.cluster = LiveCluster(PROGRAMS, positions=POSITIONS)
        self.addCleanup(self.cluster.close)
        self.client = Client(self.cluster)
        self.session = self.client.session()
        self.sampler = self.client.base_sampler(self.session)

    def await_open(self, wanted, deadline_s):
        """Until so many samples and polls are under way; how long it took."""
        start = time.monotonic()
        while (seen := [self.client.num_open(kind) for kind in ("samples", "polls")]) != wanted:
            self.assertLess(time.monotonic() - start, deadline_s, seen)
            time.sleep(LOOK_AGAIN_S)
        return time.monotonic() - start

    def cost_of_a_sample(self, seq_id):
        """Processor time of the sampler in ticks: that of others beside it would show."""
        (sampler,) = self.cluster.process_ids("--role=sampler")

        def ticks():
            words = pathlib.Path(f"/proc/{sampler}/stat").read_text().rsplit(")", 1)[1].split()
            return int(words[11]) + int(words[12])

        before = ticks()
        drawn = self.client.result(self.client.sample(self.sampler, seq_id, max_tokens=2000))
        self.assertEqual(len(tokens_of(drawn)), 2)
        return ticks() - before

    def test_samples_of_a_killed_program_leave_the_sampler(self):
        self.client.result(self.client.sample(self.sampler, 0))
        alone = self.cost_of_a_sample(1)
        ack = self.client.sample(self.sampler, 2, max_tokens=POSITIONS - 10)
        waiter, answers = Client(self.cluster), []
        waiting = threading.Thread(target=lambda: answers.append(waiter.result(ack)))
        waiting.start()
        environment = {**os.environ, "TINKER_BASE_URL": self.cluster.url,
                       "TINKER_API_KEY": self.cluster.key}
        with subprocess.Popen([sys.executable, "-c", VICTIM], env=environment) as victim:
            try:
                self.await_open([1 + NUM_SAMPLES] * 2, 120)
            finally:
                victim.kill()
        took = self.await_open([1, 1], GONE_S + SLACK_S)
        print(f"the samples were gone {took:.0f} s after their client", flush=True)
        # Who waits is not disturbed, until it wants no more.
        self.assertEqual(answers, [])
        self.client.post("cancel_future", {"request_id": ack["request_id"]})
        waiting.join()
        self.assertIn("cancelled", answers[0]["error"])
        self.assertLess(self.cost_of_a_sample(3), 4 * alone)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
