"""What an operator reads at /metrics moves with what clients do: op latency, queue depth, tokens,
sync pause, heartbeat age and logprob gap.

Usage: metrics_test.py FOLDER_OF_PROGRAMS
"""

import sys
import time
import unittest

from raw_client import PROTOBUF, Gateway, pass_body, tokens_of

HEARTBEAT_AGE = "oldest_heartbeat_seconds"
NUM_SAMPLES = 2  # of each request
# Series, the action that moves it, by how much; None: it may only grow.
COUNTERS = [
    ('op_seconds_count{kind="forward_backward"}', "op", 1),
    ('op_seconds_sum{kind="forward_backward"}', "op", None),
    ('op_seconds_count{kind="optim_step"}', "op", 1),
    ('op_seconds_sum{kind="optim_step"}', "op", None),
    ('tokens_total{kind="forward_backward"}', "op", 3),
    ('tokens_total{kind="prompt"}', "sample", 3),
    ('tokens_total{kind="sampled"}', "sample", 8 * NUM_SAMPLES),
    ("sync_pause_seconds_count", "sync", 1),
    ("sync_pause_seconds_sum", "sync", None),
    ("sync_logprob_gap_count", "sync", 1),
    ("sync_logprob_gap_sum", "sync", None),
]
ACTIONS = ("op", "sample", "sync")
# Trainers compute in fp32, samplers with bf16 weights.
GAP_MAX = 0.05


class Metrics(Gateway):
    def op(self):
        body = pass_body(self.made, self.next_turn()).SerializeToString()
        self.client.result(self.client.post("forward_backward", body, PROTOBUF)[1])
        step = {"model_id": self.made, "seq_id": self.next_turn(),
                "adam_params": {"learning_rate": 0.01}}
        self.assertIn("metrics", self.client.result(self.client.post("optim_step", step)[1]))

    def sample(self):
        drawn = self.client.result(self.client.sample(self.base, self.next_turn()))
        self.assertEqual([len(tokens) // 4 for tokens, _ in tokens_of(drawn)], [8] * NUM_SAMPLES)

    def sync(self):
        """All weights of a model go live when the first sample asks for them."""
        turn = self.next_turn()
        sampler = self.client.sampler(self.made, turn, turn)
        self.assertTrue(tokens_of(self.client.result(self.client.sample(sampler, 0))))

    def next_turn(self):
        self.turn += 1
        return self.turn

    def setUp(self):
        super().setUp()
        self.turn = 0
        self.made = self.model()
        self.base = self.client.base_sampler(self.session)

    def test_counters_move_with_what_they_count(self):
        # The sampler and the model are there before anything is counted.
        self.sample()
        for action in ACTIONS:
            before = self.client.metrics()
            getattr(self, action)()
            after = self.client.metrics()
            for series, mover, wanted in COUNTERS:
                if mover != action:
                    continue
                with self.subTest(series=series):
                    self.assertIn(series, after)
                    moved = after[series] - before.get(series, 0)
                    if wanted is None:
                        self.assertGreater(moved, 0)
                    else:
                        self.assertEqual(moved, wanted)

    def test_the_last_logprob_gap_is_the_syncs(self):
        self.op()
        self.sync()
        rows = self.client.metrics()
        mean, largest = (rows[f'last_sync_logprob_gap{{of="{of}"}}'] for of in ("mean", "max"))
        self.assertGreater(mean, 0)
        self.assertLessEqual(mean, largest)
        self.assertLess(largest, GAP_MAX)

    def test_queue_depths_show_what_is_under_way(self):
        self.sample()
        kinds = ("sessions", "futures", "polls", "samples")

        def depths():
            rows = self.client.metrics()
            return [rows[f'open{{kind="{kind}"}}'] for kind in kinds]

        before = depths()
        ack = self.client.sample(self.base, self.next_turn(), max_tokens=2000)
        self.assertEqual(depths(), [before[0], before[1] + 1, before[2], before[3] + 1])
        self.client.result(ack)
        self.assertEqual(depths(), before)

    def test_the_heartbeat_age_grows_until_a_client_is_heard_of(self):
        first = self.client.metrics()[HEARTBEAT_AGE]
        self.assertGreater(self.client.metrics()[HEARTBEAT_AGE], first)
        start = time.monotonic()
        self.client.post("session_heartbeat", {"session_id": self.session})
        age = self.client.metrics()[HEARTBEAT_AGE]
        self.assertLessEqual(age, time.monotonic() - start)


if __name__ == "__main__":
    Gateway.PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
