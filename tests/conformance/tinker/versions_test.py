"""Older versions of the tinker SDK, unmodified, through the whole life of a model. Each stands
apart: PYTHONPATH chooses the one that is tested.

Usage: versions_test.py FOLDER_OF_PROGRAMS VERSION
"""

import importlib.metadata
import os
import sys
import unittest

import tinker
import torch
from tinker import types

from live_cluster import LiveCluster

PROGRAMS = ""
VERSION = ""
TEXTS = ("two and two is four", "a dog", "rivers run to the sea")


def value(made):
    """Newer versions answer futures where older ones answer clients."""
    return made.result() if hasattr(made, "result") else made


def datum(text):
    tokens = list(text.encode())
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": types.TensorData.from_torch(torch.tensor(tokens[1:])),
            "weights": types.TensorData.from_torch(torch.ones(len(tokens) - 1)),
        },
    )


BATCH = [datum(text) for text in TEXTS]


def squared_loss(data, logprobs):
    loss = sum(((p.mean() + 1.0) ** 2) for p in logprobs)
    return loss, {"mean": float(torch.stack([p.mean() for p in logprobs]).mean())}


class Version(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert importlib.metadata.version("tinker") == VERSION, tinker.__file__
        cls.cluster = LiveCluster(PROGRAMS, trainers="count = 3")
        os.environ["TINKER_BASE_URL"] = cls.cluster.url
        os.environ["TINKER_API_KEY"] = cls.cluster.key
        cls.service = tinker.ServiceClient()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def logprobs(self, training):
        out = training.forward(BATCH, "cross_entropy").result().loss_fn_outputs
        return [list(row["logprobs"].data) for row in out]

    def step(self, training):
        return training.optim_step(types.AdamParams(learning_rate=1e-2))

    def test_a_model_of_all_weights_is_resumed(self):
        training = value(self.service.create_lora_training_client(base_model="tiny", rank=0))
        training.forward_backward(BATCH, "cross_entropy")
        self.step(training).result()
        path = training.save_state("whole").result().path
        again = value(self.service.create_training_client_from_state(path))
        self.assertEqual(self.logprobs(again), self.logprobs(training))

    def test_the_life_of_a_model(self):
        service = self.service
        training = value(service.create_lora_training_client(base_model="tiny", rank=8, seed=1))
        losses = []
        for _ in range(3):
            passed = training.forward_backward(BATCH, "cross_entropy")
            self.step(training).result()
            losses.append(passed.result().metrics["loss:sum"])
        self.assertLess(losses[2], losses[0])
        custom = training.forward_backward_custom(BATCH, squared_loss).result()
        self.assertIn("mean", str(custom.metrics))
        self.step(training).result()
        saved = self.logprobs(training)
        path = training.save_state("state").result().path
        again = value(service.create_training_client_from_state(path))
        self.assertEqual(self.logprobs(again), saved)
        prompt = types.ModelInput.from_ints(list(b"two"))
        params = types.SamplingParams(max_tokens=5, seed=1, stop=[])
        named = training.save_weights_for_sampler("sampler").result().path
        clients = [
            value(training.save_weights_and_get_sampling_client("late")),
            value(service.create_sampling_client(model_path=named)),
        ]
        drawn = [c.sample(prompt, 2, params).result().sequences for c in clients]
        tokens = [[list(s.tokens) for s in one] for one in drawn]
        self.assertEqual(tokens[0], tokens[1])
        self.assertEqual([len(t) for t in tokens[0]], [5, 5])
        scores = clients[0].compute_logprobs(prompt).result()
        self.assertIsNone(scores[0])
        self.assertTrue(all(score < 0 for score in scores[1:]))
        rest = service.create_rest_client()
        self.assertEqual(rest.get_training_run_by_tinker_path(path).result().base_model, "tiny")


if __name__ == "__main__":
    VERSION = sys.argv.pop(2)
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
