"""The unmodified tinker SDK against a real cluster: what it trains must be what torch trains, with
adapters as PEFT has them and with all weights.

Usage: sdk_test.py FOLDER_OF_PROGRAMS
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import peft
import tinker
import torch
import transformers
from tinker import types

from live_cluster import LiveCluster

PROGRAMS = ""
EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "apps" / "loops" / "python"
ADAM = dict(learning_rate=1e-2, beta1=0.9, beta2=0.95, eps=1e-8)


def datum(text: str, weight: float = 1.0) -> types.Datum:
    tokens = list(text.encode())
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [weight] * (len(tokens) - 1)},
    )


BATCH = [datum("two and two is four"), datum("a dog", 0.5), datum("rivers run to the sea", -0.25)]


class Reference:
    """The same model in transformers, trained by torch; with an adapter, only that is trained."""

    def __init__(self, directory, adapter=None):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager"
        )
        if adapter:
            self.model = peft.PeftModel.from_pretrained(self.model, adapter, is_trainable=True)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=ADAM["learning_rate"],
            betas=(ADAM["beta1"], ADAM["beta2"]),
            eps=ADAM["eps"],
            weight_decay=0.0,
        )

    def logprobs(self, batch):
        out = []
        for row in batch:
            tokens = torch.tensor([row.model_input.to_ints()])
            targets = torch.tensor(list(row.loss_fn_inputs["target_tokens"].data))
            scores = self.model(tokens).logits[0].log_softmax(-1)
            out.append(scores.gather(1, targets[:, None])[:, 0])
        return out

    def cross_entropy(self, batch):
        rows = zip(batch, self.logprobs(batch))
        return -sum((torch.tensor(d.loss_fn_inputs["weights"].data) * p).sum() for d, p in rows)

    def step(self, loss):
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def squared_loss(data, logprobs):
    """Not linear in the logprobs, and it couples the datums."""
    means = torch.stack([p.mean() for p in logprobs])
    loss = ((means + 1.0) ** 2).sum() + means.prod()
    return loss, {"mean": means.mean().item()}


class ClusterTest(unittest.TestCase):
    RANK = 8
    MODEL = ("--untied",)

    @classmethod
    def setUpClass(cls):
        cls.cluster = LiveCluster(PROGRAMS, model=cls.MODEL)
        os.environ["TINKER_BASE_URL"] = cls.cluster.url
        os.environ["TINKER_API_KEY"] = cls.cluster.key

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.service = tinker.ServiceClient()

    def tearDown(self):
        self.service.close("success").result()

    def training(self, **options):
        options = {"base_model": "tiny", "rank": 8, "seed": 1, **options}
        return self.service.create_lora_training_client(**options).result()

    def step(self, training):
        return training.optim_step(types.AdamParams(**ADAM))

    def pair(self, **options):
        """A new model, and the same one in torch."""
        training = self.training(rank=self.RANK, **options)
        if self.RANK == 0:
            return training, Reference(self.cluster.model)
        saved = training.save_weights_external("start", ttl_seconds=3600).result()
        made = self.service.create_rest_client().get_external_weights_urls(saved.path).result()
        with tempfile.TemporaryDirectory() as folder:
            for name, url in made.urls.items():
                content = urllib.request.urlopen(url, timeout=60).read()
                (pathlib.Path(folder) / name).write_bytes(content)
            return training, Reference(self.cluster.model, folder)


class Training(ClusterTest):
    def assert_same_model(self, training, reference):
        out = training.forward(BATCH, "cross_entropy").result().loss_fn_outputs
        self.assertEqual(len(out), len(BATCH))
        with torch.no_grad():
            wanted = reference.logprobs(BATCH)
        for row, other in zip(out, wanted):
            torch.testing.assert_close(
                torch.tensor(row["logprobs"].data), other, rtol=1e-3, atol=1e-4
            )

    def test_cross_entropy_trains_as_torch_does(self):
        training, reference = self.pair()
        self.assert_same_model(training, reference)
        for _ in range(5):
            passed = training.forward_backward(BATCH, "cross_entropy")
            stepped = self.step(training)
            wanted = reference.step(reference.cross_entropy(BATCH))
            self.assertAlmostEqual(passed.result().metrics["loss:sum"], wanted, delta=1e-3)
            self.assertIn("grad_norm:max", stepped.result().metrics)
        self.assert_same_model(training, reference)

    def test_gradients_add_up_until_the_step(self):
        training, reference = self.pair()
        passes = [training.forward_backward([row], "cross_entropy") for row in BATCH]
        self.step(training).result()
        total = sum(p.result().metrics["loss:sum"] for p in passes)
        wanted = reference.step(reference.cross_entropy(BATCH))
        self.assertAlmostEqual(total, wanted, delta=1e-3)
        self.assert_same_model(training, reference)

    def test_a_custom_loss_trains_as_torch_does(self):
        training, reference = self.pair()
        for _ in range(3):
            passed = training.forward_backward_custom(BATCH, squared_loss)
            stepped = self.step(training)
            wanted, metrics = squared_loss(BATCH, reference.logprobs(BATCH))
            reference.step(wanted)
            self.assertAlmostEqual(passed.result().metrics["mean"], metrics["mean"], delta=1e-4)
            stepped.result()
        self.assert_same_model(training, reference)

    def test_losses_of_reinforcement_learning_are_their_formulas(self):
        training, _ = self.pair()
        tokens = list(b"hello there")
        inputs = {
            "target_tokens": tokens[1:],
            "logprobs": [-5.0] * (len(tokens) - 1),
            "advantages": [0.5] * (len(tokens) - 1),
        }
        row = types.Datum(
            model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs
        )
        logprobs = torch.tensor(
            training.forward([datum("hello there")], "cross_entropy")
            .result().loss_fn_outputs[0]["logprobs"].data
        )
        ratio = (logprobs + 5.0).exp()
        plain = training.forward_backward([row], "importance_sampling").result()
        self.assertAlmostEqual(
            plain.metrics["loss:sum"], -(0.5 * ratio).sum().item(), delta=1e-3
        )
        config = {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}
        bounded = ratio.clamp(0.9, 1.1)
        change = logprobs + 5.0
        dro = 0.5 * logprobs - 0.5 * 0.05 * change**2
        for loss, options, wanted in [
            ("ppo", config, torch.minimum(0.5 * ratio, 0.5 * bounded)),
            ("cispo", config, bounded * logprobs * 0.5),
            ("dro", {"beta": 0.05}, dro),
        ]:
            for call in (training.forward_backward, training.forward):
                passed = call([row], loss, loss_fn_config=options).result()
                self.assertAlmostEqual(passed.metrics["loss:sum"], -wanted.sum().item(), delta=1e-3)
        with self.assertRaisesRegex(tinker.RequestFailedError, "beta"):
            training.forward([row], "ppo", loss_fn_config={"beta": 0.1}).result()
        high = torch.linspace(0.5, 1.5, len(ratio)) * ratio.detach()
        own = {"clip_low_threshold": [0.0] * len(ratio), "clip_high_threshold": high.tolist()}
        row = types.Datum(model_input=row.model_input, loss_fn_inputs={**inputs, **own})
        passed = training.forward_backward([row], "ppo").result()
        self.assertAlmostEqual(
            passed.metrics["loss:sum"], -(0.5 * torch.minimum(ratio, high)).sum().item(), delta=1e-3
        )
        wide = {key: torch.tensor(value)[:, None].repeat(1, 3) for key, value in inputs.items()}
        row = types.Datum(model_input=row.model_input, loss_fn_inputs=wide)
        passed = training.forward_backward([row], "importance_sampling").result()
        self.assertAlmostEqual(
            passed.metrics["loss:sum"], -3 * (0.5 * ratio).sum().item(), delta=3e-3
        )

    def test_a_position_may_have_many_targets(self):
        """Dense, and as the SDK sends them when most weights are 0: sparse."""
        training, reference = self.pair()
        texts = ["two and two is four", "a dog"]
        generator = torch.Generator().manual_seed(1)
        batch, rows = [], []
        for index, text in enumerate(texts):
            tokens = list(text.encode())[:-1]
            targets = torch.randint(0, 256, (len(tokens), 4), generator=generator)
            weights = torch.randn(targets.shape, generator=generator)
            if index == 1:
                keep = torch.rand(targets.shape, generator=generator) < 0.2
                targets, weights = targets * keep, weights * keep
            batch.append(types.Datum(
                model_input=types.ModelInput.from_ints(tokens),
                loss_fn_inputs={"target_tokens": targets, "weights": weights},
            ))
            rows.append((tokens, targets, weights))
        self.assertIsNone(batch[0].loss_fn_inputs["weights"].sparse_crow_indices)
        self.assertIsNotNone(batch[1].loss_fn_inputs["weights"].sparse_crow_indices)

        def scores():
            return [reference.model(torch.tensor([tokens])).logits[0].log_softmax(-1)
                    .gather(1, targets) for tokens, targets, _ in rows]

        batch.append(BATCH[0])
        for _ in range(3):
            passed = training.forward_backward(batch, "cross_entropy")
            stepped = self.step(training)
            wanted = scores()
            loss = -sum((w * p).sum() for (_, _, w), p in zip(rows, wanted))
            loss = loss + reference.cross_entropy([BATCH[0]])
            for row, other in zip(passed.result().loss_fn_outputs, wanted):
                self.assertEqual(list(row["logprobs"].shape), list(other.shape))
                torch.testing.assert_close(row["logprobs"].to_torch(), other.detach(),
                                           rtol=1e-3, atol=1e-3)
            self.assertAlmostEqual(passed.result().metrics["loss:sum"], reference.step(loss),
                                   delta=5e-3)
            stepped.result()
        self.assert_same_model(training, reference)
        # A loss of one's own sees the shape, too.
        custom = training.forward_backward_custom(batch[:2], lambda data, logprobs: (
            sum((p.exp() * p).sum() for p in logprobs), {"wide": float(logprobs[0].dim())}))
        self.assertEqual(custom.result().metrics["wide"], 2.0)
        self.step(training).result()
        reference.step(sum((p.exp() * p).sum() for p in scores()))
        self.assert_same_model(training, reference)

    def test_a_bad_batch_fails_alone(self):
        training = self.training(rank=self.RANK)
        before = training.forward(BATCH, "cross_entropy").result()
        bad = types.Datum(
            model_input=types.ModelInput.from_ints([1, 2, 99999]),
            loss_fn_inputs={"target_tokens": [1, 2, 3], "weights": [1.0, 1.0, 1.0]},
        )
        for batch, loss in [([bad], "cross_entropy"), (BATCH, "ppo")]:
            with self.assertRaises(tinker.RequestFailedError):
                training.forward_backward(batch, loss).result()
        with self.assertRaises(tinker.BadRequestError):
            training.optim_step(types.AdamParams(learning_rate=float("nan"))).result()
        after = training.forward(BATCH, "cross_entropy").result()
        for one, other in zip(before.loss_fn_outputs, after.loss_fn_outputs):
            self.assertEqual(list(one["logprobs"].data), list(other["logprobs"].data))


class AllWeights(Training):
    """Rank 0 asks for it."""

    RANK = 0

    def test_a_saved_state_is_resumed_with_all_weights(self):
        training, reference = self.pair()
        training.forward_backward(BATCH, "cross_entropy")
        self.step(training).result()
        reference.step(reference.cross_entropy(BATCH))
        path = training.save_state("all").result().path
        again = self.service.create_training_client_from_state_with_optimizer(path).result()
        self.assert_same_model(again, reference)
        info = again.get_info()
        self.assertEqual((info.is_lora, info.lora_rank), (False, 0))


class Weights(ClusterTest):
    def logprobs(self, training):
        out = training.forward(BATCH, "cross_entropy").result().loss_fn_outputs
        return [list(row["logprobs"].data) for row in out]

    def train(self, training, steps):
        for _ in range(steps):
            training.forward_backward(BATCH, "cross_entropy")
            stepped = self.step(training)
        return stepped.result()

    def test_a_saved_state_is_resumed_bit_for_bit(self):
        first = self.training(user_metadata={"who": "test"})
        self.train(first, 3)
        path = first.save_state("middle").result().path
        saved = self.logprobs(first)
        self.train(first, 2)
        wanted = self.logprobs(first)
        self.assertNotEqual(saved, wanted)
        second = self.service.create_training_client_from_state_with_optimizer(path).result()
        self.assertEqual(self.logprobs(second), saved)
        self.train(second, 2)
        self.assertEqual(self.logprobs(second), wanted)
        info = second.get_info()
        self.assertEqual((info.is_lora, info.lora_rank, info.model_data.model_name),
                         (True, 8, "tiny"))

    def test_weights_without_moments_are_the_same_weights(self):
        first = self.training()
        self.train(first, 2)
        path = first.save_state("weights-only").result().path
        second = self.service.create_training_client_from_state(path).result()
        self.assertEqual(self.logprobs(first), self.logprobs(second))
        self.train(first, 1)
        self.train(second, 1)
        self.assertNotEqual(self.logprobs(first), self.logprobs(second))

    def test_a_third_model_is_told_that_no_trainer_is_idle(self):
        kept = [self.training(rank=0), self.training(rank=0)]
        for training in kept:
            self.logprobs(training)
        reason = "idle trainer nodes are needed, 0 of 2"
        with self.assertRaisesRegex(tinker.RequestFailedError, reason):
            self.training(rank=0)

    def test_unknown_names_are_refused(self):
        with self.assertRaisesRegex(tinker.RequestFailedError, "served are: tiny"):
            self.training(base_model="huge")
        with self.assertRaises(tinker.APIStatusError):
            self.service.create_training_client_from_state("tinker://x/weights/y").result()


class Sampling(ClusterTest):
    PROMPT = types.ModelInput.from_ints(list(b"once upon"))

    def tokens(self, sampling, count=2, **params):
        params = types.SamplingParams(**{"max_tokens": 6, "stop": [], **params})
        return sampling.sample(self.PROMPT, count, params).result().sequences

    def test_samples_are_those_of_the_weights(self):
        training, reference = self.pair()
        training.forward_backward(BATCH, "cross_entropy")
        self.step(training).result()
        reference.step(reference.cross_entropy(BATCH))
        sampling = training.save_weights_and_get_sampling_client().result()
        (greedy,) = self.tokens(sampling, 1, temperature=0.0)
        sequence = list(self.PROMPT.to_ints())
        with torch.no_grad():
            for token, logprob in zip(greedy.tokens, greedy.logprobs):
                scores = reference.model(torch.tensor([sequence])).logits[0, -1].log_softmax(-1)
                # The sampler works in bfloat16: it may choose among near equals.
                self.assertGreater(scores[token].item(), scores.max().item() - 0.05)
                self.assertAlmostEqual(logprob, scores[token].item(), delta=0.05)
                sequence.append(token)

    def test_seeds_repeat_and_differ_by_index(self):
        sampling = self.training().save_weights_and_get_sampling_client().result()
        first, second = self.tokens(sampling, seed=7), self.tokens(sampling, seed=7)
        self.assertEqual([list(s.tokens) for s in first], [list(s.tokens) for s in second])
        self.assertNotEqual(list(first[0].tokens), list(first[1].tokens))
        self.assertEqual([s.stop_reason for s in first], ["length", "length"])
        self.assertTrue(all(len(s.logprobs) == 6 for s in first))

    def test_a_stop_token_ends_and_is_part(self):
        sampling = self.training().save_weights_and_get_sampling_client().result()
        (free,) = self.tokens(sampling, 1, seed=3)
        (cut,) = self.tokens(sampling, 1, seed=3, stop=[free.tokens[2]])
        self.assertEqual(cut.stop_reason, "stop")
        tokens = list(free.tokens)
        self.assertEqual(list(cut.tokens), tokens[: tokens.index(cut.tokens[-1]) + 1])

    def test_prompts_are_scored(self):
        sampling = self.service.create_sampling_client(base_model="tiny").result()
        prompt = types.ModelInput.from_ints(list(b"two and two"))
        with torch.no_grad():
            tokens = torch.tensor([prompt.to_ints()])
            scores = Reference(self.cluster.model).model(tokens).logits[0].log_softmax(-1)
        scored = sampling.compute_logprobs(prompt).result()
        self.assertIsNone(scored[0])
        self.assertEqual(len(scored), prompt.length)
        for position, token in enumerate(prompt.to_ints()[1:], 1):
            self.assertAlmostEqual(scored[position], scores[position - 1][token].item(), delta=0.05)
        drawn = sampling.sample(
            prompt, 1, types.SamplingParams(max_tokens=2, stop=[]),
            include_prompt_logprobs=True, topk_prompt_logprobs=3,
        ).result()
        rows = drawn.topk_prompt_logprobs
        self.assertEqual(len(rows), prompt.length)
        self.assertFalse(rows[0])
        best = scores[0].max().item()
        self.assertEqual(len(rows[1]), 3)
        self.assertAlmostEqual(rows[1][0][1], best, delta=0.05)

    def test_other_tokens_of_a_prompt_are_scored(self):
        sampling = self.service.create_sampling_client(base_model="tiny").result()
        prompt = types.ModelInput.from_ints(list(b"two and two"))
        with torch.no_grad():
            tokens = torch.tensor([prompt.to_ints()])
            scores = Reference(self.cluster.model).model(tokens).logits[0].log_softmax(-1)
        ids = torch.full((prompt.length - 1, 4), -1)
        ids[2, 1], ids[2, 3], ids[7, 0] = 65, 66, 67
        for target in (types.TensorData.from_torch(ids),
                       types.TensorData.from_torch_sparse(ids, pad_value=-1)):
            drawn = sampling.sample(
                prompt, 1, types.SamplingParams(max_tokens=1), target_prompt_logprobs=target
            ).result()
            seen = drawn.target_prompt_logprobs.to_torch()
            self.assertEqual(seen.shape, ids.shape)
            for place in [(2, 1), (2, 3), (7, 0)]:
                wanted = scores[place[0], ids[place]].item()
                self.assertAlmostEqual(seen[place].item(), wanted, delta=0.05)
            self.assertEqual(int((seen != 0).sum()), 3)
        outside = types.TensorData.from_torch(torch.full((prompt.length - 1, 1), 5000))
        with self.assertRaisesRegex(tinker.RequestFailedError, "vocabulary"):
            sampling.sample(prompt, 1, types.SamplingParams(max_tokens=1),
                            target_prompt_logprobs=outside).result()

    def test_an_earlier_client_keeps_its_weights(self):
        training = self.training()
        early = training.save_weights_and_get_sampling_client().result()
        before = [list(s.tokens) for s in self.tokens(early, 4, seed=1)]
        for _ in range(4):
            training.forward_backward(BATCH, "cross_entropy")
            self.step(training).result()
        path = training.save_weights_for_sampler("named").result().path
        late = self.service.create_sampling_client(model_path=path).result()
        params = types.SamplingParams(max_tokens=6, seed=1, stop=[])
        clients = (early, late, early, late)
        futures = [client.sample(self.PROMPT, 4, params) for client in clients]
        seen = [[list(s.tokens) for s in future.result().sequences] for future in futures]
        self.assertEqual(seen[0], before)
        self.assertEqual(seen[2], before)
        self.assertEqual(seen[1], seen[3])
        self.assertNotEqual(seen[1], before)

    def test_the_base_model_can_be_sampled_at_any_time(self):
        base = self.service.create_sampling_client(base_model="tiny").result()
        before = [list(s.tokens) for s in self.tokens(base, 4, seed=1)]
        training = self.training()
        for _ in range(4):
            training.forward_backward(BATCH, "cross_entropy")
            self.step(training).result()
        tuned = training.save_weights_and_get_sampling_client().result()
        self.assertNotEqual([list(s.tokens) for s in self.tokens(tuned, 4, seed=1)], before)
        self.assertEqual([list(s.tokens) for s in self.tokens(base, 4, seed=1)], before)

    def test_a_bad_request_fails_alone(self):
        sampling = self.training().save_weights_and_get_sampling_client().result()
        with self.assertRaises(tinker.RequestFailedError):
            self.tokens(sampling, 1, top_p=7.0)
        with self.assertRaises(tinker.RequestFailedError):
            self.tokens(sampling, 1, max_tokens=100000)
        self.assertEqual(len(self.tokens(sampling, 1)), 1)


class Adapters(ClusterTest):
    """On a model whose head is its embedding, which adapters leave alone."""

    MODEL = ()

    def logprobs(self, training):
        out = training.forward(BATCH, "cross_entropy").result().loss_fn_outputs
        return [torch.tensor(row["logprobs"].data) for row in out]

    def train(self, training, steps):
        for _ in range(steps):
            passed = training.forward_backward(BATCH, "cross_entropy")
            self.step(training)
        return passed.result().metrics["loss:sum"]

    def test_adapters_start_as_the_base_and_learn(self):
        training, reference = self.training(seed=3), Reference(self.cluster.model)
        with torch.no_grad():
            wanted = reference.logprobs(BATCH)
        for one, other in zip(self.logprobs(training), wanted):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
        first = self.train(training, 1)
        self.assertLess(self.train(training, 10), first - 1.0)

    def test_ranks_and_seeds_are_those_asked_for(self):
        norms = []
        for options in [{"rank": 4, "seed": 1}, {"rank": 4, "seed": 2}, {"rank": 16, "seed": 1},
                        {"rank": 4, "seed": 1}]:
            training = self.training(**options)
            training.forward_backward(BATCH, "cross_entropy")
            norms.append(self.step(training).result().metrics["grad_norm:max"])
            self.service.close("success").result()
            self.service = tinker.ServiceClient()
        self.assertEqual(norms[0], norms[3])
        self.assertEqual(len(set(norms)), 3)

    def test_many_tenants_share_a_trainer_and_do_not_meet(self):
        def train(training, rows):
            for _ in range(3):
                passed = training.forward_backward(rows, "cross_entropy")
                stepped = self.step(training)
            return passed, stepped

        def outcome(passed, stepped):
            metrics = {**passed.result().metrics, **stepped.result().metrics}
            return metrics["loss:sum"], metrics["grad_norm:max"]

        wanted = [{"rank": 2 + 2 * i, "seed": i} for i in range(6)]
        alone = []
        for i, options in enumerate(wanted):
            alone.append(outcome(*train(self.training(**options), BATCH[i % len(BATCH):])))
            self.service.close("success").result()
            self.service = tinker.ServiceClient()
        tenants = [self.training(**options) for options in wanted]
        poisoner = self.training(rank=4)
        foul = types.Datum(
            model_input=types.ModelInput.from_ints([1, 2]),
            loss_fn_inputs={"target_tokens": [2, 3], "weights": [1.0, float("nan")]},
        )
        running = []
        for i, tenant in enumerate(tenants):
            running.append(train(tenant, BATCH[i % len(BATCH):]))
            with self.assertRaises(tinker.RequestFailedError):
                poisoner.forward_backward([foul], "cross_entropy").result()
        self.assertEqual([outcome(*pair) for pair in running], alone)

    def test_saved_adapters_resume_and_sample(self):
        training = self.training()
        self.train(training, 5)
        path = training.save_state("adapters").result().path
        saved = self.logprobs(training)
        again = self.service.create_training_client_from_state_with_optimizer(path).result()
        for one, other in zip(saved, self.logprobs(again)):
            self.assertTrue(torch.equal(one, other))
        self.assertEqual(again.get_info().lora_rank, 8)
        sampling = again.save_weights_and_get_sampling_client().result()
        prompt = types.ModelInput.from_ints(list(b"two and two is "))
        params = types.SamplingParams(max_tokens=4, temperature=0.0, stop=[])
        (greedy,) = sampling.sample(prompt, 1, params).result().sequences
        tokens = prompt.to_ints() + list(greedy.tokens)
        row = types.Datum(
            model_input=types.ModelInput.from_ints(tokens[:-1]),
            loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)},
        )
        scored = again.forward([row], "cross_entropy").result().loss_fn_outputs[0]["logprobs"]
        for one, other in zip(greedy.logprobs, list(scored.data)[-4:]):
            self.assertAlmostEqual(one, other, delta=0.1)


class Examples(ClusterTest):
    def run_example(self, name, *words):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), "--base-model", "tiny", *words],
            capture_output=True, text=True, timeout=240, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_sft(self):
        rows = self.run_example("sft.py", "--steps", "40")
        self.assertLess(rows[39]["loss"], 0.6 * rows[0]["loss"])
        self.assertTrue(rows[-1]["checkpoint"].startswith("tinker://"))

    def test_custom_loss(self):
        rows = self.run_example("custom_loss.py", "--steps", "20")
        self.assertEqual(rows[-1]["preferred"], 1.0)

    def test_grpo(self):
        rows = self.run_example("grpo.py")
        rewards = [row["reward"] for row in rows]
        self.assertTrue(all(map(math.isfinite, rewards)), rewards)
        # Bits differ by kind of processor, and any one step may fall back: five are judged.
        self.assertGreater(sum(rewards[-5:]) / 5, sum(rewards[:5]) / 5 + 0.4, rewards)
        self.assertEqual(self.run_example("grpo.py"), rows)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
