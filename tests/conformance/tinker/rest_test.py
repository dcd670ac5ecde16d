"""What the SDK lists, changes, copies and fetches of its own: runs, weights and sessions.

Usage: rest_test.py FOLDER_OF_PROGRAMS
"""

import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile
import tempfile
import unittest
import urllib.error
import urllib.request

import peft
import pyrage
import tinker
import torch
import transformers
from safetensors.torch import load_file
from tinker import types

from live_cluster import LiveCluster

PROGRAMS = ""
TOKENS = list(b"two and two is four")
ROW = types.Datum(
    model_input=types.ModelInput.from_ints(TOKENS[:-1]),
    loss_fn_inputs={"target_tokens": TOKENS[1:], "weights": [1.0] * (len(TOKENS) - 1)},
)


class RestTest(unittest.TestCase):
    SECTIONS = ""

    @classmethod
    def setUpClass(cls):
        cls.cluster = LiveCluster(PROGRAMS, cls.SECTIONS)
        cls.use_key(cls.cluster.key)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    @classmethod
    def use_key(cls, key):
        os.environ["TINKER_BASE_URL"] = cls.cluster.url
        os.environ["TINKER_API_KEY"] = key

    def setUp(self):
        self.service = tinker.ServiceClient(user_metadata={"purpose": self.id()})
        self.rest = self.service.create_rest_client()

    def tearDown(self):
        self.service.close("success").result()

    def trained(self, rank=8, **options):
        training = self.service.create_lora_training_client(
            base_model="tiny", rank=rank, **options
        ).result()
        training.forward_backward([ROW], "cross_entropy")
        training.optim_step(types.AdamParams(learning_rate=1e-2)).result()
        return training

    def logprobs(self, training):
        passed = training.forward([ROW], "cross_entropy").result()
        return list(passed.loss_fn_outputs[0]["logprobs"].data)

    def get(self, path):
        request = urllib.request.Request(
            self.cluster.url + "/api/v1/" + path, headers={"x-api-key": self.cluster.key}
        )
        return json.load(urllib.request.urlopen(request, timeout=60))


class Names(RestTest):
    def test_runs_and_weights_are_listed(self):
        training = self.trained(user_metadata={"who": "test"})
        path = training.save_state("first", ttl_seconds=3600).result().path
        sampler = training.save_weights_for_sampler("second").result().path
        run = self.rest.get_training_run_by_tinker_path(path).result()
        self.assertEqual((run.base_model, run.is_lora, run.lora_rank), ("tiny", True, 8))
        self.assertEqual(run.user_metadata, {"who": "test"})
        self.assertEqual(run.last_checkpoint.tinker_path, path)
        self.assertIsNotNone(run.last_checkpoint.expires_at)
        self.assertGreater(run.last_checkpoint.size_bytes, 1000)
        self.assertEqual(run.last_sampler_checkpoint.tinker_path, sampler)
        listed = self.rest.list_training_runs(limit=1).result()
        self.assertEqual(listed.training_runs[0].training_run_id, run.training_run_id)
        self.assertEqual((listed.cursor.limit, len(listed.training_runs)), (1, 1))
        of_run = self.rest.list_checkpoints(run.training_run_id).result().checkpoints
        self.assertEqual({c.checkpoint_type for c in of_run}, {"training", "sampler"})
        all_paths = [c.tinker_path for c in self.rest.list_user_checkpoints().result().checkpoints]
        self.assertIn(path, all_paths)
        self.assertIn(sampler, all_paths)

    def test_a_name_is_used_once_unless_it_is_overwritten(self):
        training = self.trained()
        path = training.save_state("same").result().path
        with self.assertRaisesRegex(tinker.RequestFailedError, "overwrite=True"):
            training.save_state("same").result()
        training.forward_backward([ROW], "cross_entropy")
        training.optim_step(types.AdamParams(learning_rate=1e-2)).result()
        self.assertEqual(training.save_state("same", overwrite=True).result().path, path)
        wanted = self.logprobs(training)
        again = self.service.create_training_client_from_state(path).result()
        self.assertEqual(self.logprobs(again), wanted)

    def test_deleted_and_expired_weights_are_gone(self):
        training = self.trained()
        kept = training.save_state("kept").result().path
        gone = training.save_state("gone").result().path
        self.rest.delete_checkpoint_from_tinker_path(gone).result()
        with self.assertRaises(tinker.NotFoundError):
            self.rest.delete_checkpoint_from_tinker_path(gone).result()
        with self.assertRaises(tinker.NotFoundError):
            self.rest.get_weights_info_by_tinker_path(gone).result()
        self.rest.set_checkpoint_ttl_from_tinker_path(kept, 3600).result()
        run = self.rest.get_training_run_by_tinker_path(kept).result()
        self.assertIsNotNone(run.last_checkpoint.expires_at)
        self.rest.set_checkpoint_ttl_from_tinker_path(kept, None).result()
        run = self.rest.get_training_run_by_tinker_path(kept).result()
        self.assertIsNone(run.last_checkpoint.expires_at)
        info = self.rest.get_weights_info_by_tinker_path(kept).result()
        self.assertEqual((info.base_model, info.is_lora, info.lora_rank), ("tiny", True, 8))

    def test_published_weights_are_readable_by_other_keys(self):
        training = self.trained()
        path = training.save_state("shared").result().path
        wanted = self.logprobs(training)
        other = self.cluster.create_key(f"other-{os.getpid()}")["key"]
        with tinker.ServiceClient(api_key=other) as stranger:
            rest = stranger.create_rest_client()
            with self.assertRaises(tinker.NotFoundError):
                rest.get_weights_info_by_tinker_path(path).result()
            self.rest.publish_checkpoint_from_tinker_path(path).result()
            with self.assertRaises(tinker.NotFoundError):
                rest.delete_checkpoint_from_tinker_path(path).result()
            theirs = stranger.create_training_client_from_state(path).result()
            self.assertEqual(self.logprobs(theirs), wanted)
            copied = rest.copy_weights(path, "their-project").result()
            self.rest.unpublish_checkpoint_from_tinker_path(path).result()
            with self.assertRaises(tinker.NotFoundError):
                rest.get_weights_info_by_tinker_path(path).result()
            # The copy is theirs, whatever becomes of the original.
            self.rest.delete_checkpoint_from_tinker_path(path).result()
            copy = getattr(copied, "tinker_path", copied)
            self.assertEqual(rest.get_weights_info_by_tinker_path(copy).result().lora_rank, 8)

    def test_sessions_are_found_again(self):
        training = self.trained()
        training.save_weights_and_get_sampling_client().result()
        mine = self.rest.list_sessions().result().sessions[0]
        seen = self.rest.get_session(mine).result()
        self.assertEqual(len(seen.training_run_ids), 1)
        self.assertEqual(len(seen.sampler_ids), 1)
        self.assertEqual(seen.user_metadata, {"purpose": self.id()})
        mine_only = types.SessionSearchRequest(user_metadata={"purpose": self.id()})
        found = self.rest.search_sessions(mine_only).result()
        self.assertEqual([s.session_id for s in found.sessions], [mine])
        self.assertEqual(found.sessions[0].status.type, "active")
        self.rest.assign_session_project(mine, "project").result()
        found = self.rest.search_sessions(types.SessionSearchRequest(session_id=mine)).result()
        self.assertEqual(found.sessions[0].project_id, "project")

    def test_a_sampling_client_can_be_handed_to_another_process(self):
        sampling = self.service.create_sampling_client(base_model="tiny").result()
        params = types.SamplingParams(max_tokens=4, seed=1, stop=[])
        prompt = types.ModelInput.from_ints(TOKENS)
        first = sampling.sample(prompt, 2, params).result().sequences
        clone = pickle.loads(pickle.dumps(sampling))
        second = clone.sample(prompt, 2, params).result().sequences
        self.assertEqual([list(s.tokens) for s in first], [list(s.tokens) for s in second])


class Files(RestTest):
    def scored(self, model):
        with torch.no_grad():
            scores = model(torch.tensor([TOKENS[:-1]])).logits[0].log_softmax(-1)
        return scores.gather(1, torch.tensor(TOKENS[1:])[:, None])[:, 0]

    def base(self):
        return transformers.AutoModelForCausalLM.from_pretrained(
            self.cluster.model, dtype=torch.float32, attn_implementation="eager"
        )

    def test_an_archive_loads_in_peft_and_transformers(self):
        training = self.trained()
        path = training.save_state("adapter").result().path
        wanted = torch.tensor(self.logprobs(training))
        made = self.get(path.replace("tinker://", "training_runs/").replace(
            "/weights/", "/checkpoints/weights/") + "/archive")
        self.assertIn("expires", made)
        content = urllib.request.urlopen(made["url"], timeout=60).read()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            names = set(tar.getnames())
            with tempfile.TemporaryDirectory() as folder:
                tar.extractall(folder)
                model = peft.PeftModel.from_pretrained(self.base(), folder)
                scores = self.scored(model)
        self.assertLessEqual(
            {"adapter_model.safetensors", "adapter_config.json", "checkpoint_complete"}, names
        )
        torch.testing.assert_close(scores, wanted, rtol=1e-3, atol=1e-3)
        forged = made["url"].replace("archive.tar", "adapter_config.json")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(forged, timeout=60)
        self.assertEqual(refused.exception.code, 403)

    def exported(self, kind):
        """The directory that the newest checkpoint of a kind becomes."""
        words = ("--data-folder", str(self.cluster.data), "--json")
        listed = json.loads(self.cluster.run("checkpoint", "list", *words))["checkpoints"]
        found = max((c for c in listed if c["kind"] == kind), key=lambda c: c["created_unix_ms"])
        directory = str(self.cluster.folder / f"{kind}-export")
        self.cluster.run("checkpoint", "export", found["checkpoint"], directory, *words)
        return directory

    def test_a_merged_export_is_what_peft_merges(self):
        training = self.trained()
        training.save_state("parts").result()
        training.save_weights_for_sampler("whole").result()
        base = self.base().state_dict()
        merged = peft.PeftModel.from_pretrained(
            self.base(), self.exported("training")).merge_and_unload().state_dict()
        ours = load_file(self.exported("adapter") + "/model.safetensors")
        moved = 0
        for name, values in ours.items():
            self.assertEqual(values.dtype, torch.bfloat16)
            # Sums in another order may round to the neighbour.
            torch.testing.assert_close(values.float(), merged[name].bfloat16().float(),
                                       rtol=2**-7, atol=1e-6)
            moved += int((values != base[name].bfloat16()).sum())
        self.assertGreater(moved, 1000)

    def test_external_weights_are_fetched_file_by_file(self):
        training = self.trained()
        saved = training.save_weights_external("out", ttl_seconds=3600).result()
        self.assertIn("/external_weights/out", saved.path)
        made = self.rest.get_external_weights_urls(saved.path).result()
        self.assertIn("adapter_model.safetensors", made.urls)
        for name, url in made.urls.items():
            content = urllib.request.urlopen(url, timeout=60).read()
            if name == "adapter_config.json":
                self.assertEqual(json.loads(content)["r"], 8)

    def test_the_command_line_of_the_sdk_downloads_weights(self):
        training = self.trained()
        path = training.save_state("whole").result().path
        wanted = torch.tensor(self.logprobs(training))
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "tinker.cli", "checkpoint", "download", path,
                            "--output", folder], check=True, capture_output=True, timeout=120)
            (made,) = pathlib.Path(folder).iterdir()
            scores = self.scored(peft.PeftModel.from_pretrained(self.base(), made))
        torch.testing.assert_close(scores, wanted, rtol=1e-3, atol=1e-3)

    def test_external_weights_for_certain_readers_are_encrypted(self):
        """The readers' own program opens them, whatever their size; others get no plain file."""
        mine, second = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
        training = self.trained(rank=0)
        plain = training.save_weights_external("plain").result()
        sealed = training.save_weights_external(
            "sealed", age_encryption_recipients=[str(mine.to_public()), str(second.to_public())]
        ).result()
        wanted = {name + ".age": urllib.request.urlopen(url, timeout=60).read() for name, url in
                  self.rest.get_external_weights_urls(plain.path).result().urls.items()}
        made = self.rest.get_external_weights_urls(sealed.path).result().urls
        self.assertEqual(set(made), set(wanted))
        for name, url in made.items():
            content = urllib.request.urlopen(url, timeout=60).read()
            for reader in (mine, second):
                self.assertEqual(pyrage.decrypt(content, [reader]), wanted[name])
            with self.assertRaises(pyrage.DecryptError):
                pyrage.decrypt(content, [pyrage.x25519.Identity.generate()])
        self.assertGreater(max(map(len, wanted.values())), 64 * 1024)
        for wrong in ("age1mistyped", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"):
            with self.assertRaisesRegex(tinker.BadRequestError, "age-keygen"):
                training.save_weights_external("no", age_encryption_recipients=[wrong]).result()


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
