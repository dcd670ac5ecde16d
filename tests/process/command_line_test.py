"""The command line as a person uses it: a model of transformers goes in, is trained and scored on a
live cluster, and comes out as a directory that transformers loads. Then the mistakes.

Oracles: transformers for logprobs and for the exported model.
Usage: command_line_test.py TROUPE_PROGRAM
"""

import contextlib
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import torch
import transformers

PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
DEADLINE_S = 120


def troupe(*words, folder, check=True):
    done = subprocess.run([PROGRAM, *map(str, words)], cwd=folder, capture_output=True, text=True,
                          timeout=DEADLINE_S)
    if check and done.returncode != 0:
        raise AssertionError(f"troupe {' '.join(map(str, words))}: {done.stderr}{done.stdout}")
    return done


def make_model(directory, shards=1, tied=True):
    torch.manual_seed(3)
    config = transformers.Qwen3Config(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=128,
        tie_word_embeddings=tied)
    model = transformers.Qwen3ForCausalLM(config).float()
    model.save_pretrained(directory, max_shard_size="5GB" if shards == 1 else "40KB")
    return model


def token_logprobs(model, tokens):
    ids = torch.tensor([tokens[:-1]])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    return torch.log_softmax(logits, -1)[range(len(tokens) - 1), tokens[1:]]


ROWS = [[5, 9, 200, 31, 7], [1, 2, 3], [250, 0, 17, 17, 90, 4, 4, 61]]


def write_rows(path, rows=ROWS):
    lines = [json.dumps({"tokens": r, "weights": [0.0] + [1.0] * (len(r) - 1)}) for r in rows]
    path.write_text("\n".join(lines) + "\n")


def score_error(folder, name, model):
    """How far `troupe score` of a directory is from a model of transformers, over rows.jsonl."""
    out = troupe("score", "--model", name, "--data", "rows.jsonl", "--json", folder=folder)
    rows = json.loads(out.stdout.splitlines()[-1])["rows"]
    got = [torch.tensor(row["logprobs"], dtype=torch.float64) for row in rows]
    expected = [token_logprobs(model, tokens) for tokens in ROWS]
    assert [len(each) for each in got] == [len(each) for each in expected]
    return float((torch.cat(got) - torch.cat(expected)).norm() / torch.cat(expected).norm())


@contextlib.contextmanager
def mounted(folder, options):
    """A small file system of its own on `folder`; the test is skipped where that is not allowed."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise unittest.SkipTest("mounting a tmpfs is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Cluster:
    """`troupe up` in the background, ended by Ctrl-C as a person would."""

    def __init__(self, folder, trainers, extra=""):
        config = folder / "cluster.toml"
        config.write_text(f"{extra}[trainers]\ncount = {trainers}\n")
        self.process = subprocess.Popen([PROGRAM, "up", str(config)], cwd=folder,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        self.first_line = self.process.stdout.readline()

    def says(self, words):
        """Reads on until a line has the words; false when the cluster ends first."""
        limit = threading.Timer(DEADLINE_S, self.process.kill)
        limit.start()
        try:
            return any(words in line for line in self.process.stdout)
        finally:
            limit.cancel()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=DEADLINE_S)
        self.process.stdout.close()
        return self.process.returncode


class OnALiveCluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-cli-"))
        cls.model = make_model(cls.folder / "model")
        write_rows(cls.folder / "rows.jsonl")
        cls.cluster = Cluster(cls.folder, trainers=4)

    @classmethod
    def tearDownClass(cls):
        code = cls.cluster.end()
        shutil.rmtree(cls.folder)
        assert code in (0, 130), code

    def sft(self, ranks, name, *more):
        out = troupe("run", "sft", "--model", "model", "--data", "rows.jsonl", "--steps", 4,
                     "--batch-size", 3, "--ranks", ranks, "--name", name, "--json", *more,
                     folder=self.folder)
        return json.loads(out.stdout.splitlines()[-1])

    def test_says_that_it_is_up(self):
        self.assertIn("is up at 127.0.0.1:", self.cluster.first_line)

    def test_every_world_size_ends_near_the_same_weights_and_exports(self):
        losses = []
        for ranks in (1, 2, 4):
            summary = self.sft(ranks, f"ranks-{ranks}")
            losses.append(summary["loss"])
            target = f"out-{ranks}"
            troupe("checkpoint", "export", summary["checkpoint"], target, folder=self.folder)
            trained = transformers.AutoModelForCausalLM.from_pretrained(
                self.folder / target, dtype=torch.float32)
            self.assertLess(score_error(self.folder, target, trained), 1e-5)
            for row in ROWS:
                self.assertGreater(token_logprobs(trained, row).sum(),
                                   token_logprobs(self.model, row).sum())
        for loss in losses[1:]:
            self.assertAlmostEqual(loss, losses[0], delta=1e-5 * abs(losses[0]))

    def test_lists_lineage_and_events(self):
        checkpoint = self.sft(1, "listed")["checkpoint"]
        listed = json.loads(troupe("checkpoint", "list", "--json", folder=self.folder).stdout)
        self.assertIn(checkpoint, json.dumps(listed))
        lineage = troupe("checkpoint", "lineage", checkpoint[:12], folder=self.folder).stdout
        self.assertIn(checkpoint[:12], lineage)
        events = json.loads(troupe("run", "events", "listed", "--json", folder=self.folder).stdout)
        kinds = [event["kind"] for event in events["events"]]
        self.assertEqual(kinds[0], "started")
        self.assertEqual(kinds[-1], "parked")
        status = json.loads(troupe("status", "--json", folder=self.folder).stdout)
        self.assertEqual(len(status["nodes"]), 5)

    def test_grpo_runs_on_a_byte_level_model(self):
        out = troupe("run", "grpo", "--model", "model", "--steps", 2, "--questions", 4,
                     "--answers", 4, "--json", folder=self.folder)
        self.assertIn("checkpoint", json.loads(out.stdout.splitlines()[-1]))

    def refused(self, *words):
        done = troupe(*words, folder=self.folder, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr + done.stdout

    def test_mistakes_are_named(self):
        data = self.folder / "bad.jsonl"
        sft = ["run", "sft", "--model", "model", "--data", "bad.jsonl"]
        data.write_text('{"tokens":[1,2],"weights":[0,1]}\nnot json\n')
        self.assertRegex(self.refused(*sft), r"bad\.jsonl.*2")
        data.write_text('{"tokens":[1,999],"weights":[0,1]}\n')
        self.assertIn("999", self.refused(*sft))
        data.write_text('{"tokens":[1,2,3],"weights":[0,1]}\n')
        self.assertRegex(self.refused(*sft), r"(?i)weights")
        data.write_text('{"tokens":[1,2],"weights":[0,NaN]}\n')
        self.refused(*sft)
        self.assertIn("no model directory",
                      self.refused("run", "sft", "--model", "nowhere", "--data", "rows.jsonl"))
        self.assertIn("nope", self.refused("run", "events", "nope"))
        self.refused("checkpoint", "export", "0123456789ab", "never")

    def test_damaged_models_are_refused(self):
        whole = (self.folder / "model" / "model.safetensors").read_bytes()
        config = json.loads((self.folder / "model" / "config.json").read_text())
        cases = {
            "truncated": (whole[:-100], config),
            "header": (b"\xff" * 8 + whole[8:], config),
            "contradiction": (whole, {**config, "hidden_size": 40}),
            "architecture": (whole, {**config, "architectures": ["GPT2LMHeadModel"],
                                     "model_type": "gpt2"}),
            "heads": (whole, {**config, "num_key_value_heads": 3}),
        }
        for name, (tensors, changed) in cases.items():
            with self.subTest(name):
                directory = self.folder / f"bad-{name}"
                directory.mkdir()
                (directory / "model.safetensors").write_bytes(tensors)
                (directory / "config.json").write_text(json.dumps(changed))
                said = self.refused("run", "sft", "--model", directory, "--data", "rows.jsonl")
                self.assertNotIn("internal", said)
                self.assertGreater(len(said), 20)
        self.assertIn("GPT2LMHeadModel",
                      self.refused("run", "sft", "--model", "bad-architecture", "--data",
                                   "rows.jsonl"))

    def test_a_data_folder_has_one_cluster(self):
        second = troupe("up", "cluster.toml", folder=self.folder, check=False)
        self.assertNotEqual(second.returncode, 0)
        self.assertRegex(second.stderr + second.stdout, r"(?i)use|running|holds")


class WithoutACluster(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-cli-"))

    def tearDown(self):
        shutil.rmtree(self.folder)

    def test_scores_equal_transformers_for_sharded_and_untied_models(self):
        write_rows(self.folder / "rows.jsonl")
        for name, shards, tied in (("one", 1, True), ("many", 9, False)):
            model = make_model(self.folder / name, shards, tied)
            self.assertLess(score_error(self.folder, name, model), 1e-5)

    def test_each_benchmark_explains_itself(self):
        listed = json.loads(troupe("bench", "--json", folder=self.folder).stdout)["benchmarks"]
        self.assertIn("recovery", listed)
        for name in listed:
            said = troupe("bench", name, "--help", folder=self.folder).stdout
            self.assertRegex(said, rf"(?i)usage: \S*{name}_bench", name)

    def test_a_cluster_file_is_checked_by_line(self):
        (self.folder / "c.toml").write_text("[cluster]\nname = \"x\"\nnmae = 1\n")
        done = troupe("up", "c.toml", folder=self.folder, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr + done.stdout, r"c\.toml.*3.*nmae|nmae.*3")

    def refused_start(self, config):
        (self.folder / "c.toml").write_text(config)
        done = troupe("up", "c.toml", folder=self.folder, check=False)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr + done.stdout

    def test_a_taken_port_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertIn(str(port), self.refused_start(f"[listen]\nport = {port}\n"))

    def test_a_read_only_folder_is_named(self):
        (self.folder / "data").mkdir()
        with mounted(self.folder / "data", "ro"):
            said = self.refused_start('[cluster]\ndata_folder = "data"\n')
        self.assertRegex(said, r"(?i)read-only|permission|write")

    def test_a_full_disk_is_named_and_a_freed_one_goes_on(self):
        (self.folder / "data").mkdir()
        make_model(self.folder / "model")
        write_rows(self.folder / "rows.jsonl")
        with mounted(self.folder / "data", "size=12m"):
            ballast = self.folder / "data" / "ballast"
            cluster = Cluster(self.folder, trainers=1, extra='[cluster]\ndata_folder = "data"\n')
            try:
                self.assertIn("is up", cluster.first_line)
                # What is left holds the start of a run and not all of it.
                left = shutil.disk_usage(ballast.parent).free
                ballast.write_bytes(bytes(left - (256 << 10)))
                sft = [PROGRAM, "run", "sft", "--model", "model", "--data", "rows.jsonl",
                       "--ranks", "1", "--data-folder", "data", "--steps", "150"]
                run = subprocess.Popen(sft, cwd=self.folder, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
                self.assertTrue(cluster.says("No space left"))
                self.assertIsNone(run.poll())
                ballast.unlink()
                self.assertEqual(run.wait(timeout=DEADLINE_S), 0)
            finally:
                cluster.end()

    def test_commands_say_that_nothing_runs(self):
        done = troupe("status", folder=self.folder, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("troupe up", done.stderr + done.stdout)

    def test_help_names_every_command(self):
        said = troupe("--help", folder=self.folder).stdout
        for word in ("up", "down", "status", "run", "score", "checkpoint", "demo", "doctor"):
            self.assertIn(word, said)

    def test_every_argument_is_explained(self):
        """Of every command below `troupe`: no option and no argument without a text."""
        waiting, seen = [[]], 0
        while waiting:
            words = waiting.pop()
            parts = re.split(r"(?m)^(Positionals|Options|Subcommands):\n",
                             troupe(*words, "--help", folder=self.folder).stdout)
            sections = dict(zip(parts[1::2], parts[2::2]))
            for section in ("Positionals", "Options"):
                # A long name has its text on the next line, where it stands alone.
                text = re.sub(r"\n {20,}", "   ", sections.get(section, ""))
                for line in text.splitlines():
                    if re.match(r"  [a-z-]", line):
                        seen += 1
                        self.assertRegex(line, r"^  \S.* {2,}\S", [*words, line])
            for line in sections.get("Subcommands", "").splitlines():
                if name := re.match(r"  ([a-z]+)", line):
                    waiting.append([*words, name[1]])
        self.assertGreater(seen, 100)

    def test_every_program_explains_its_options(self):
        for name, option in (("troupe-node", "--numa"), ("troupe-gateway", "--tls-key")):
            program = str(pathlib.Path(PROGRAM).with_name(name))
            done = subprocess.run([program, "--help"], capture_output=True, text=True,
                                  timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 0)
            self.assertIn(option, done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
