"""Deployments and the care of checkpoints from the command line, on a live cluster.

Oracle: transformers loads what `materialize` writes and answers as the deployment does; it is the
state that the diff ends at.
Usage: serving_commands_test.py TROUPE_PROGRAM
"""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import torch
import transformers
from safetensors.torch import load_file, save_file

PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
DEADLINE_S = 120


class ServingCommands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-serving-"))
        cls.run_program("model", "create", "model", "--hidden", 32, "--layers", 2)
        (cls.folder / "cluster.toml").write_text("[trainers]\ncount = 1\n[samplers]\ncount = 5\n"
                                                 "[deployments.named]\nmodel = 'model'\n"
                                                 "replicas = 2\n")
        cls.cluster = subprocess.Popen([PROGRAM, "up", "cluster.toml"], cwd=cls.folder,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert any("is up at" in line for line in iter(cls.cluster.stdout.readline, ""))
        cls.run_program("run", "grpo", "--model", "model", "--steps", 3, "--questions", 2,
                        "--answers", 4, "--name", "r")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.send_signal(signal.SIGINT)
        cls.cluster.wait(timeout=DEADLINE_S)
        cls.cluster.stdout.close()
        shutil.rmtree(cls.folder)

    @classmethod
    def run_program(cls, *words):
        done = subprocess.run([PROGRAM, *map(str, words), "--json"], cwd=cls.folder,
                              capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        cls.code = done.returncode
        cls.lines = done.stdout.splitlines()
        return json.loads(cls.lines[-1])

    def troupe(self, *words):
        answer = self.run_program(*words)
        self.assertEqual(self.code, 0, answer)
        return answer

    def refused(self, *words):
        answer = self.run_program(*words)
        self.assertEqual(self.code, 1, answer)
        return json.dumps(answer)

    def samplers(self):
        listed = self.troupe("checkpoint", "list", "r")["checkpoints"]
        return [one["checkpoint"] for one in listed if one["kind"] in ("base", "delta")]

    def test_damaged_weights_are_named(self):
        """By whatever computes with them, and at once: NaN is no logprob."""
        shutil.copytree(self.folder / "model", self.folder / "damaged")
        file = self.folder / "damaged" / "model.safetensors"
        weights = load_file(file)
        weights["model.norm.weight"][3] = float("nan")
        save_file(weights, file, {"format": "pt"})
        (self.folder / "rows.jsonl").write_text('{"tokens": [5, 9, 20], "weights": [0, 1, 1]}\n')
        rows = ("--model", "damaged", "--data", "rows.jsonl")
        self.assertIn("NaN", self.refused("score", *rows))
        self.assertIn("NaN", self.refused("run", "sft", *rows, "--steps", 1, "--name", "damaged"))
        self.troupe("deployment", "create", "damaged", "--model", "damaged")
        self.assertIn("NaN", self.refused("sample", "damaged", "--prompt", "two"))
        self.troupe("deployment", "remove", "damaged")

    def test_a_deployment_is_made_scaled_synced_and_removed(self):
        self.troupe("deployment", "create", "d", "--model", "model", "--replicas", 2)
        self.assertIn("already", self.refused("deployment", "create", "d", "--model", "model"))
        newest = self.samplers()[-1]
        synced = self.troupe("deployment", "sync", "d", newest[:12])
        self.assertEqual((synced["version"], synced["checkpoint"]), (1, newest))
        # The trainer computes in fp32, the sampler with bf16 weights.
        self.assertGreater(synced["logprob_gap_max"], 0)
        self.assertLess(synced["logprob_gap_max"], 0.05)
        self.troupe("deployment", "scale", "d", "--replicas", 3)
        (info,) = [one for one in self.troupe("deployment", "list")["deployments"]
                   if one["deployment"] == "d"]
        self.assertEqual((info["wanted_replicas"], len(info["places"])), (3, 3))
        lines = self.troupe("deployment", "ledger", "d")["lines"]
        self.assertIn("committed", [line["outcome"] for line in lines])
        self.assertIn("needed", self.refused("checkpoint", "remove", newest))
        self.refused("deployment", "sync", "d", "abcdef")
        self.refused("deployment", "scale", "nowhere", "--replicas", 1)
        self.troupe("deployment", "remove", "d")
        left = self.troupe("deployment", "list")["deployments"]
        self.assertEqual([one["deployment"] for one in left], ["named"])

    def test_what_the_cluster_file_names_is_served(self):
        (info,) = [one for one in self.troupe("deployment", "list")["deployments"]
                   if one["deployment"] == "named"]
        self.assertEqual((info["replicas"], info["wanted_replicas"]), (2, 2))
        (self.folder / "many.toml").write_text("[cluster]\ndata_folder = 'other'\n"
                                               "[deployments.d]\nmodel = 'model'\nreplicas = 9\n")
        self.assertIn("samplers", self.refused("up", "many.toml"))

    def test_checkpoints_are_verified_compared_and_materialized(self):
        verified = self.troupe("checkpoint", "verify", self.samplers()[-1][:12])
        self.assertEqual(verified["chain"], len(self.samplers()))
        rows = self.folder / "rows.jsonl"
        rows.write_text('{"tokens":[5,9,200,31,7],"weights":[0,1,1,1,1]}\n' * 4)
        first, last = (self.troupe("run", "sft", "--model", "model", "--data", rows, "--steps",
                                   steps, "--batch-size", 2)["checkpoint"] for steps in (1, 2))
        changes = self.troupe("checkpoint", "diff", first, last)
        self.assertGreater(changes["changed"], 0)
        self.assertEqual(self.troupe("checkpoint", "diff", last, last)["changed"], 0)
        tensors = []
        for name, checkpoint in (("first", first), ("last", last)):
            self.troupe("checkpoint", "materialize", checkpoint, name)
            tensors.append(load_file(self.folder / name / "model.safetensors"))
        differing = sum(int((tensors[0][key].view(torch.int32) !=
                             tensors[1][key].view(torch.int32)).sum()) for key in tensors[0])
        self.assertEqual(changes["changed"], differing)

    def greedy(self, deployment):
        prompt = [7, 200, 31, 5, 90, 17]
        self.run_program("sample", deployment, "--tokens", ",".join(map(str, prompt)),
                         "--max-tokens", 24, "--temperature", 0)
        self.assertEqual(self.code, 0)
        chunks = [json.loads(line).get("parts", []) for line in self.lines]
        return prompt, [token for parts in chunks for part in parts for token in part["tokens"]]

    def test_a_chain_serves_what_it_materializes_to(self):
        self.troupe("deployment", "create", "live", "--model", "model")
        for checkpoint in self.samplers():
            synced = self.troupe("deployment", "sync", "live", checkpoint)
        self.assertTrue(synced["was_delta"])
        prompt, live = self.greedy("live")
        self.assertEqual(len(live), 24)
        self.troupe("checkpoint", "materialize", self.samplers()[-1], "whole")
        self.troupe("deployment", "create", "fresh", "--model", "whole")
        self.assertEqual(self.greedy("fresh")[1], live)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self.folder / "whole", dtype=torch.float32)
        wanted = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False,
                                eos_token_id=None, pad_token_id=0)[0, len(prompt):]
        self.assertEqual(live, wanted.tolist())
        for name in ("live", "fresh"):
            self.troupe("deployment", "remove", name)

    def test_garbage_is_shown_before_it_goes(self):
        shown = self.troupe("checkpoint", "gc", "--dry-run")
        self.assertEqual(shown["removed_files"], 0)
        collected = self.troupe("checkpoint", "gc")
        self.assertEqual([c["checkpoint"] for c in collected["checkpoints"]],
                         [c["checkpoint"] for c in shown["checkpoints"]])
        self.assertTrue(self.samplers())


if __name__ == "__main__":
    unittest.main()
