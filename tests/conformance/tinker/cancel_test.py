"""Samples that nobody waits for any more give their places in the sampler back: those that a client
cancels, and those of a session that has ended. A second sample of the same length stands beside
each: were the first one decoded to its end, both would end in the same step. And how a client hears
of all its samples by one poll.

Usage: cancel_test.py FOLDER_OF_PROGRAMS
"""

import asyncio
import os
import sys
import unittest

import tinker
from tinker import types

from raw_client import Client, Gateway, tokens_of

# Seconds of decoding: on a busy machine a cancellation takes some to come through.
TOKENS = 6000


class Cancelling(Gateway):
    POSITIONS = 8192

    def num_open(self):
        return self.client.num_open("samples")

    def await_open(self, count):
        """Until so many samples are under way; they all ended first when there are none at all."""
        before = 0
        while (now := self.num_open()) != count:
            self.assertFalse(now == 0 and before > 0, "all samples have ended")
            before = now

    def long_sample(self, client, sampler, seq_id):
        return client.sample(sampler, seq_id, max_tokens=TOKENS)

    def setUp(self):
        super().setUp()
        self.own = self.client.base_sampler(self.session)
        # The sampler is there before anything is counted.
        self.client.result(self.client.sample(self.own, 0))
        self.beside = Client(self.cluster)
        self.other_session = self.beside.session()
        self.other = self.beside.base_sampler(self.other_session)

    def tearDown(self):
        self.beside.finish(self.other_session)
        super().tearDown()

    def check_gone(self, end):
        """`end` ends the first of two samples: one is left, and lives to its end."""
        ack = self.long_sample(self.client, self.own, 1)
        kept = self.long_sample(self.beside, self.other, 1)
        self.await_open(2)
        end(ack)
        self.await_open(1)
        rows = tokens_of(self.beside.result(kept))
        self.assertEqual([len(tokens) // 4 for tokens, _ in rows], [TOKENS] * 2)
        return ack

    def test_a_cancelled_sample_leaves_the_sampler(self):
        def cancel(ack):
            status, _ = self.client.post("cancel_future", {"request_id": ack["request_id"]})
            self.assertEqual(status, 200)

        ack = self.check_gone(cancel)
        self.assertIn("cancelled", self.client.result(ack)["error"])
        # The turn is used: a repeat is told the same.
        again = self.long_sample(self.client, self.own, 1)
        self.assertEqual(again, ack)

    def test_samples_of_an_ended_session_leave_the_sampler(self):
        self.check_gone(lambda _: self.client.finish(self.session))

    def test_a_cancelled_task_of_the_sdk_leaves_the_sampler(self):
        os.environ["TINKER_BASE_URL"] = self.cluster.url
        os.environ["TINKER_API_KEY"] = self.cluster.key
        params = types.SamplingParams(max_tokens=TOKENS, stop=[])
        prompt = types.ModelInput.from_ints([1, 2, 3])

        async def cancel_one(client):
            await client.sample(prompt, 2, types.SamplingParams(max_tokens=1))
            kept = self.long_sample(self.beside, self.other, 1)
            drawn = asyncio.ensure_future(client.sample_async(prompt, 2, params))
            while self.num_open() < 2:
                self.assertFalse(drawn.done(), "it ended before it was cancelled")
                await asyncio.sleep(0)
            drawn.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await drawn
            self.await_open(1)
            return kept

        with tinker.ServiceClient() as service:
            client = service.create_sampling_client(base_model="tiny").result()
            kept = asyncio.run(cancel_one(client))
            rows = tokens_of(self.beside.result(kept))
        self.assertEqual([len(tokens) // 4 for tokens, _ in rows], [TOKENS] * 2)

    def test_cancelled_samples_wait_for_nothing_and_hold_nobody_up(self):
        """More than a sampler decodes at once: those that wait end, and the next one enters."""
        acks = [self.long_sample(self.client, self.own, n) for n in range(1, 400)]
        for ack in acks:
            self.client.post("cancel_future", {"request_id": ack["request_id"]})
        self.await_open(0)
        drawn = tokens_of(self.client.result(self.client.sample(self.own, 400)))
        self.assertEqual(len(drawn), 2)

    def test_one_poll_tells_of_all_samples_of_a_client(self):
        def ended(cursor, **more):
            body = {"target": {"type": "sampling_session", "sampling_session_id": self.own,
                               "cloned_sampler_id": 0}, "prev_cursor": cursor, **more}
            status, answer = self.client.post("retrieve_futures", body)
            self.assertEqual(status, 200, answer)
            return answer

        cursor = ended(0)["cursor"]
        self.assertEqual(ended(cursor, timeout=0)["completions"], [])
        acks = [self.client.sample(self.own, n) for n in (1, 2)]
        acks.append(self.long_sample(self.client, self.own, 3))
        acks.append(self.client.sample(self.own, 4, temperature=-1))
        self.client.post("cancel_future", {"request_id": acks[2]["request_id"]})
        told, at = {}, cursor
        while len(told) < len(acks):
            batch = ended(at)
            # The same cursor gives the same batch, but for what ended meanwhile.
            again = ended(at)["completions"]
            self.assertEqual(again[: len(batch["completions"])], batch["completions"])
            told.update({one["request_id"]: one for one in batch["completions"]})
            self.assertGreater(batch["cursor"], at)
            at = batch["cursor"]
        states = [told[ack["request_id"]]["state"] for ack in acks]
        self.assertEqual(states, ["finished", "finished", "failed", "failed"])
        size = told[acks[0]["request_id"]]["response_payload_uncompressed_size"]
        self.assertEqual(len(self.client.result(acks[0])), size)
        self.assertIn("temperature", self.client.result(acks[3])["error"])
        self.assertEqual(ended(at, timeout=0)["completions"], [])


if __name__ == "__main__":
    Gateway.PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
