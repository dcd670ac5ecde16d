"""Every public method of the SDK's clients, found by introspection, against a real cluster: each is
called here or named among those that the server refuses, and one that is neither fails the test.

Usage: methods_test.py FOLDER_OF_PROGRAMS
"""

import asyncio
import datetime
import inspect
import os
import pathlib
import shutil
import sys
import tempfile
import unittest
import warnings

import tinker
import torch
from tinker import types

from chat_model import make_model
from live_cluster import LiveCluster

PROGRAMS = ""
CLIENTS = (tinker.ServiceClient, tinker.TrainingClient, tinker.SamplingClient, tinker.RestClient,
           tinker.AdminClient)
# What a client calls itself, or what tells nothing of the server.
LOCAL = {("SamplingClient", "on_queue_state_change")}
# Answered by an error that says so: there is nothing of the kind in a cluster of one's own.
REFUSED = {
    (client, name + ending)
    for client, names in {
        "RestClient": ("export_session_trace", "get_audit_log", "get_billing_usage",
                       "get_current_checkpoint_storage_usage"),
        "AdminClient": ("get_audit_log", "get_billing_usage",
                        "get_current_checkpoint_storage_usage"),
    }.items()
    for name in names for ending in ("", "_async")
} | {("RestClient", "whoami"), ("ServiceClient", "create_custom_loss")}
ADAM = types.AdamParams(learning_rate=1e-2)
PARAMS = types.SamplingParams(max_tokens=3, seed=1, stop=[])
PROMPT = types.ModelInput.from_ints(list(b"two and two"))


def datum(text):
    tokens = list(text.encode())
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)},
    )


BATCH = [datum("two and two is four"), datum("a dog")]


def squared(data, logprobs):
    return sum((p**2).sum() for p in logprobs), {"count": float(len(data))}


def public_methods():
    out = set()
    for client in CLIENTS:
        for name, value in vars(client).items():
            is_method = isinstance(value, staticmethod) or inspect.isfunction(value)
            if not name.startswith("_") and is_method:
                out.add((client.__name__, name))
    return out


class Methods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        warnings.simplefilter("ignore")
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-methods-"))
        cls.model = str(cls.folder / "model")
        make_model(cls.model)
        cls.cluster = LiveCluster(PROGRAMS, f'"{cls.model}" = "{cls.model}"\n')
        os.environ["TINKER_BASE_URL"] = cls.cluster.url
        os.environ["TINKER_API_KEY"] = cls.cluster.key
        os.environ["TINKER_PROJECT_ID"] = "project"
        cls.used = set()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def use(self, client, name, *args, **options):
        """Calls a method and waits for what it promises."""
        out = getattr(client, name)(*args, **options)
        if inspect.iscoroutine(out):
            out = asyncio.run(out)
        while isinstance(out, tinker.APIFuture) or hasattr(out, "result"):
            out = out.result()
        kind = client if inspect.isclass(client) else type(client)
        self.used.add((kind.__name__, name))
        return out

    def both(self, client, name, *args, **options):
        """The method and its asynchronous name, which must answer alike."""
        return (self.use(client, name, *args, **options),
                self.use(client, name + "_async", *args, **options))

    def test_every_public_method(self):
        service = tinker.ServiceClient()
        self.capabilities(service)
        training, twin = self.both(service, "create_lora_training_client", base_model=self.model,
                                   rank=4, seed=1)
        self.training(training, twin)
        state, _ = self.saving(service, training)
        self.sampling(service, training)
        self.names(service, training, state)
        self.refusals(service)
        self.use(service, "close", "success")
        missing = public_methods() - self.used - REFUSED - LOCAL
        self.assertEqual(missing, set(), "neither called here nor named as refused")
        self.assertEqual((REFUSED | LOCAL) - public_methods(), set())

    def capabilities(self, service):
        for answer in self.both(service, "get_server_capabilities"):
            self.assertIn(self.model, [m.model_name for m in answer.supported_models])
        self.assertTrue(self.use(service, "get_console_url"))
        self.use(service, "get_telemetry")

    def training(self, training, twin):
        first, second = self.both(training, "forward", BATCH, "cross_entropy")
        self.assertEqual(first.metrics["loss:sum"], second.metrics["loss:sum"])
        for client in (training, twin):
            self.use(client, "forward_backward", BATCH, "cross_entropy")
            self.use(client, "forward_backward_async", BATCH, "cross_entropy")
            for answer in self.both(client, "forward_backward_custom", BATCH, squared):
                self.assertEqual(answer.metrics["count"], 2.0)
            steps = self.both(client, "optim_step", ADAM)
            self.assertEqual([s.metrics["step:max"] for s in steps], [1.0, 2.0])
        # Two models of the same seed that were told the same are the same.
        first, second = (self.use(c, "forward", BATCH, "cross_entropy") for c in (training, twin))
        self.assertEqual(first.metrics["loss:sum"], second.metrics["loss:sum"])
        for info in self.both(training, "get_info"):
            self.assertEqual((info.is_lora, info.lora_rank), (True, 4))
        self.assertEqual(self.use(training, "get_tokenizer").decode([111, 110, 101]),
                         self.use(twin, "get_tokenizer").decode([111, 110, 101]))
        self.use(training, "get_console_url")
        self.use(training, "get_telemetry")

    def saving(self, service, training):
        state = self.use(training, "save_state", "one").path
        self.use(training, "save_state_async", "two")
        loss = self.use(training, "forward", BATCH, "cross_entropy").metrics["loss:sum"]
        self.use(training, "forward_backward", BATCH, "cross_entropy")
        self.use(training, "optim_step", ADAM)
        for name in ("load_state", "load_state_with_optimizer"):
            for answer in self.both(training, name, state):
                self.assertEqual(answer.path, state)
        again = self.use(training, "forward", BATCH, "cross_entropy").metrics["loss:sum"]
        self.assertEqual(again, loss)
        for name in ("create_training_client_from_state",
                     "create_training_client_from_state_with_optimizer"):
            for client in self.both(service, name, state):
                seen = self.use(client, "forward", BATCH, "cross_entropy").metrics["loss:sum"]
                self.assertEqual(seen, loss)
        external, _ = (self.use(training, "save_weights_external" + ending, "out" + ending)
                       for ending in ("", "_async"))
        rest = self.use(service, "create_rest_client")
        for answer in self.both(rest, "get_external_weights_urls", external.path):
            self.assertIn("adapter_config.json", answer.urls)
        return state, external.path

    def sampling(self, service, training):
        named = [self.use(training, "save_weights_for_sampler" + ending, "s" + ending).path
                 for ending in ("", "_async")]
        clients = list(self.both(training, "save_weights_and_get_sampling_client"))
        clients += self.both(training, "create_sampling_client", named[0])
        clients += self.both(service, "create_sampling_client", model_path=named[1])
        clients.append(self.use(tinker.SamplingClient, "create", service.holder,
                                model_path=named[0]))
        handle = self.use(clients[0], "get_sampler_handle")
        clients.append(self.use(tinker.SamplingClient, "from_sampler_handle", handle))
        drawn = []
        for client in clients:
            for answer in self.both(client, "sample", PROMPT, 2, PARAMS):
                drawn.append([list(s.tokens) for s in answer.sequences])
            for scores in self.both(client, "compute_logprobs", PROMPT):
                self.assertEqual(len(scores), PROMPT.length)
        self.assertEqual([d for d in drawn if d != drawn[0]], [])
        for name in self.both(clients[0], "get_base_model"):
            self.assertEqual(name, self.model)
        self.use(clients[0], "get_tokenizer")
        self.use(clients[0], "get_telemetry")
        with self.assertRaisesRegex(tinker.RequestFailedError, "prompt_alt_tokens_k"):
            clients[0].sample(PROMPT, 1, PARAMS, prompt_alt_tokens_k=2).result()
        rest = self.use(service, "create_rest_client")
        sampler = rest.list_sessions().result().sessions[0]
        ids = rest.get_session(sampler).result().sampler_ids
        for answer in self.both(rest, "get_sampler", ids[0]):
            self.assertEqual(answer.base_model, self.model)

    def names(self, service, training, state):
        rest = self.use(service, "create_rest_client")
        self.use(rest, "get_server_capabilities")
        self.use(rest, "get_telemetry")
        run = self.use(rest, "get_training_run_by_tinker_path", state)
        self.use(rest, "get_training_run_by_tinker_path_async", state)
        for answer in self.both(rest, "get_training_run", run.training_run_id):
            self.assertEqual(answer.base_model, self.model)
        for answer in self.both(rest, "list_training_runs"):
            self.assertIn(run.training_run_id, [r.training_run_id for r in answer.training_runs])
        for answer in self.both(rest, "list_checkpoints", run.training_run_id):
            self.assertIn(state, [c.tinker_path for c in answer.checkpoints])
        for answer in self.both(rest, "list_user_checkpoints"):
            self.assertIn(state, [c.tinker_path for c in answer.checkpoints])
        self.assertEqual(self.use(rest, "get_weights_info_by_tinker_path", state).lora_rank, 4)
        self.both(rest, "publish_checkpoint_from_tinker_path", state)
        self.both(rest, "unpublish_checkpoint_from_tinker_path", state)
        self.both(rest, "set_checkpoint_ttl_from_tinker_path", state, 3600)
        copies = [self.use(service, "copy_weights", state)]
        copies += self.both(rest, "copy_weights", state, "project")
        gone = [getattr(copy, "tinker_path", copy) for copy in copies]
        self.use(rest, "delete_checkpoint_from_tinker_path", gone[0])
        self.use(rest, "delete_checkpoint_from_tinker_path_async", gone[1])
        for name, ending in (("one", ""), ("two", "_async")):
            self.use(rest, "delete_checkpoint" + ending, run.training_run_id, "weights/" + name)
        session = self.use(rest, "list_sessions").sessions[0]
        self.use(rest, "list_sessions_async")
        for answer in self.both(rest, "get_session", session):
            self.assertTrue(answer.training_run_ids)
        self.both(rest, "assign_session_project", session, "project")
        found = self.use(rest, "search_sessions", types.SessionSearchRequest(session_id=session))
        self.assertEqual([s.session_id for s in found.sessions], [session])

    def refusals(self, service):
        rest = service.create_rest_client()
        admin = tinker.AdminClient(service.holder)
        self.use(admin, "get_telemetry")
        session = rest.list_sessions().result().sessions[0]
        day = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        words = {
            "export_session_trace": (session,), "get_audit_log": (), "whoami": (),
            "get_billing_usage": (day, day), "get_current_checkpoint_storage_usage": (),
        }
        for client, name in sorted(REFUSED - {("ServiceClient", "create_custom_loss")}):
            given = words[name.removesuffix("_async")]
            with self.subTest(f"{client}.{name}"), self.assertRaises(
                    (tinker.NotFoundError, ValueError, RuntimeError)):
                self.use(rest if client == "RestClient" else admin, name, *given)
        with self.assertRaises(Exception) as refused:
            self.use(service, "create_custom_loss", lambda logprobs: -torch.sum(logprobs),
                     {"logprobs": 1})
        self.assertTrue(str(refused.exception))


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
