"""A program written with the tinker SDK while processes of its cluster die: it loses time and
nothing else. Every model must end bit for bit as one that nobody disturbed.

Usage: kills_test.py FOLDER_OF_PROGRAMS
"""

import os
import sys
import unittest

import tinker
from tinker import types

from live_cluster import LiveCluster

PROGRAMS = ""
ADAM = types.AdamParams(learning_rate=1e-2, beta1=0.9, beta2=0.95, eps=1e-8)
PROMPT = types.ModelInput.from_ints(list(b"once upon"))


def datum(text: str) -> types.Datum:
    tokens = list(text.encode())
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)},
    )


ROWS = [[datum(f"{n} and {n} is {2 * n}"), datum("rivers run to the sea")] for n in range(6)]


class Kills(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = LiveCluster(PROGRAMS)
        os.environ["TINKER_BASE_URL"] = cls.cluster.url
        os.environ["TINKER_API_KEY"] = cls.cluster.key
        cls.wanted = cls.program(None)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    @classmethod
    def kill(cls, words):
        """Those that were started again since the last time; returns how many."""
        return cls.cluster.kill(words)

    @classmethod
    def program(cls, victim):
        """Six pipelined steps with a checkpoint and samples on the way; `victim` dies three times,
        each time with operations under way that are not answered."""
        with tinker.ServiceClient() as service:
            training = service.create_lora_training_client(base_model="tiny", rank=8).result()
            sampling = training.save_weights_and_get_sampling_client().result()
            params = types.SamplingParams(max_tokens=24, seed=5, stop=[])
            futures, samples, num_killed = [], [], 0
            for step, rows in enumerate(ROWS):
                futures.append(training.forward_backward(rows, "cross_entropy"))
                futures.append(training.optim_step(ADAM))
                drawn = sampling.sample(PROMPT, 4, params)
                if victim and step % 2 == 0:
                    num_killed += cls.kill(victim)
                samples.append([list(s.tokens) for s in drawn.result().sequences])
            assert not victim or num_killed > 1, num_killed
            losses = [f.result().metrics["loss:sum"] for f in futures[::2]]
            steps = [f.result().metrics["step:max"] for f in futures[1::2]]
            path = training.save_state("end").result().path
            late = training.save_weights_and_get_sampling_client().result()
            drawn = late.sample(PROMPT, 4, params).result().sequences
            samples.append([list(s.tokens) for s in drawn])
            again = service.create_training_client_from_state_with_optimizer(path).result()
            passed = again.forward(ROWS[0], "cross_entropy").result().loss_fn_outputs
            return losses, steps, samples, [list(row["logprobs"].data) for row in passed]

    def check(self, victim):
        losses, steps, samples, logprobs = self.program(victim)
        self.assertEqual(steps, [1, 2, 3, 4, 5, 6])
        self.assertEqual(losses, self.wanted[0])
        self.assertEqual(samples, self.wanted[2])
        self.assertEqual(logprobs, self.wanted[3])

    def test_of_the_gateway(self):
        self.check("troupe-gateway")

    def test_of_trainers(self):
        self.check("--role=trainer")

    def test_of_the_sampler(self):
        self.check("--role=sampler")

    def test_of_the_control_node(self):
        self.check("--role=control")


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
