"""Recipes of tinker-cookbook, unmodified, on a small local model with a tokenizer made here:
supervised chat with a resume, and reinforcement learning on the arithmetic environment, in step and
off policy. A random model answers no sum, but it must learn to end its turn, which the environment
rewards: so the reward must rise.

Usage: cookbook_test.py FOLDER_OF_PROGRAMS
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import tinker
from safetensors.torch import load_file
from tinker import types
from tinker_cookbook import weights

from chat_model import make_model
from live_cluster import LiveCluster

PROGRAMS = ""


class Recipes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-cookbook-"))
        cls.model = cls.folder / "model"
        make_model(cls.model)
        cls.cluster = LiveCluster(PROGRAMS, f'"{cls.model}" = "{cls.model}"\n')
        os.environ["TINKER_BASE_URL"] = cls.cluster.url
        os.environ["TINKER_API_KEY"] = cls.cluster.key
        cls.log = cls.folder / "log"

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def test_a_stop_text_ends_a_sample(self):
        with tinker.ServiceClient() as service:
            sampling = service.create_sampling_client(base_model=str(self.model)).result()
            tokenizer = sampling.get_tokenizer()
            prompt = types.ModelInput.from_ints(tokenizer.encode("One two"))

            def draw(stop):
                params = types.SamplingParams(max_tokens=40, seed=4, stop=stop)
                return sampling.sample(prompt, 1, params).result().sequences[0]

            whole = draw([])
            said = [tokenizer.decode([token]) for token in whole.tokens]
            pairs = [a + b for a, b in zip(said[5:], said[6:]) if a and b]
            stop = next(pair for pair in pairs if pair.isascii())
            cut = draw([stop])
        said = tokenizer.decode(list(cut.tokens), skip_special_tokens=False)
        self.assertEqual(cut.stop_reason, "stop")
        self.assertIn(stop, said)
        self.assertNotIn(stop, tokenizer.decode(list(cut.tokens)[:-1]))
        self.assertEqual(list(cut.tokens), list(whole.tokens)[: len(cut.tokens)])
        self.assertEqual(len(cut.logprobs), len(cut.tokens))

    def test_saved_weights_are_downloaded(self):
        """Through an export that is encrypted for this download alone."""
        tokens = list(range(20))
        row = types.Datum(
            model_input=types.ModelInput.from_ints(tokens[:-1]),
            loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * 19},
        )
        with tinker.ServiceClient() as service:
            training = service.create_lora_training_client(
                base_model=str(self.model), rank=4).result()
            training.forward_backward([row], "cross_entropy")
            training.optim_step(types.AdamParams(learning_rate=1e-2)).result()
            path = training.save_state("end").result().path
        folder = self.folder / "download"
        weights.download(tinker_path=path, output_dir=str(folder))
        self.assertEqual(json.loads((folder / "adapter_config.json").read_text())["r"], 4)
        adapter = load_file(folder / "adapter_model.safetensors")
        learnt = [value for name, value in adapter.items() if "lora_B" in name]
        self.assertTrue(learnt and all(value.abs().max() > 0 for value in learnt))

    def recipe(self, name, **options):
        options = {"model_name": self.model, "renderer_name": "qwen3",
                   "behavior_if_log_dir_exists": "resume", **options}
        done = subprocess.run(
            [sys.executable, "-m", f"tinker_cookbook.recipes.{name}.train",
             *[f"{key}={value}" for key, value in options.items()]],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True, text=True, timeout=400, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        lines = (pathlib.Path(options["log_path"]) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def test_chat_sl_is_resumed(self):
        data = self.folder / "conversations.jsonl"
        rows = [{"messages": [{"role": "user", "content": f"Say {n}."},
                              {"role": "assistant", "content": f"It is {n}."}]}
                for n in range(40)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = dict(dataset=data, batch_size=8, learning_rate=1e-2, max_length=256,
                       save_every=2, eval_every=0, log_path=self.log / "sl")
        first = self.recipe("chat_sl", max_steps=3, **options)
        whole = self.recipe("chat_sl", num_epochs=3, **options)
        self.assertGreater(len(whole), len(first))
        losses = [row["train_mean_nll"] for row in whole if "train_mean_nll" in row]
        self.assertLess(losses[-1], 0.7 * losses[0])

    def rewards(self, **options):
        rows = self.recipe(
            "math_rl", env="arithmetic", loss_fn="importance_sampling", group_size=16,
            groups_per_batch=4, learning_rate=3e-2, max_tokens=12, save_every=4, eval_every=0,
            max_steps=14, **options,
        )
        return [row["env/all/reward/total"] for row in rows if "env/all/reward/total" in row]

    def assert_rises(self, rewards):
        self.assertGreaterEqual(len(rewards), 12)
        # The recipe draws without a seed, so a late step may fall back: the best three are judged.
        best = max(sum(rewards[i : i + 3]) / 3 for i in range(2, len(rewards) - 2))
        self.assertGreater(best, sum(rewards[:2]) / 2 + 0.04, rewards)

    def test_math_rl_in_step(self):
        self.assert_rises(self.rewards(log_path=self.log / "sync"))

    def test_math_rl_off_policy(self):
        self.assert_rises(self.rewards(log_path=self.log / "async", max_steps_off_policy=2))


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
