"""What a client may not take from others: quotas per key, bodies that unpack to more than they are,
slow and half-open connections, bad data; and the gateway on other hosts, behind TLS.

Usage: limits_test.py FOLDER_OF_PROGRAMS
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

import tinker
from tinker import types

from live_cluster import LiveCluster
from raw_client import PROTOBUF, Client, Gateway, loss_of, pass_body, tokens_of

BLOCK_MAX = 128 * 1024


def zstd_frame(blocks):
    """A zstd frame of raw blocks (bytes) and repeated bytes (byte, count), RFC 8878 section 3.1."""
    out = b"\x28\xb5\x2f\xfd\x00\x58"
    for index, block in enumerate(blocks):
        is_last = int(index + 1 == len(blocks))
        if isinstance(block, bytes):
            out += struct.pack("<I", is_last | len(block) << 3)[:3] + block
        else:
            out += struct.pack("<I", is_last | 1 << 1 | block[1] << 3)[:3] + block[0]
    return out


class Bodies(Gateway):
    def setUp(self):
        super().setUp()
        self.made = self.client.result(self.client.model(self.session))["model_id"]

    def send(self, content):
        return self.client.send("POST", "/api/v1/forward_backward", content, PROTOBUF,
                                {"content-encoding": "zstd"})

    def test_compressed_bodies_are_what_they_unpack_to(self):
        plain = pass_body(self.made, 1, forward_only=True).SerializeToString()
        wanted = loss_of(self.client.result(self.client.post("forward_backward", plain,
                                                             PROTOBUF)[1]))
        packed = pass_body(self.made, 2, forward_only=True).SerializeToString()
        status, ack = self.send(zstd_frame([packed[:20], packed[20:]]))
        self.assertEqual(status, 200, ack)
        self.assertEqual(loss_of(self.client.result(ack)), wanted)

    def test_bombs_and_damage_are_refused(self):
        bomb = zstd_frame([(b"\0", BLOCK_MAX)] * 2100)
        self.assertLess(len(bomb), 10_000)
        status, answer = self.send(bomb)
        self.assertEqual(status, 400)
        self.assertIn("unpacks to more", answer["detail"])
        good = zstd_frame([pass_body(self.made, 3).SerializeToString()])
        for content in (good[:-3], b"", b"not zstd", good + b"\x28\xb5\x2f\xfd"):
            status, answer = self.send(content)
            self.assertEqual(status, 400, content[:20])
            self.assertTrue(answer["detail"])


NAN = float("nan")
BAD_PASSES = (
    {"weights": (NAN, 1.0, 1.0)}, {"weights": (float("inf"), 1.0, 1.0)}, {"tokens": (1, 2, 70000)},
    {"tokens": (1, -2, 3)}, {"targets": (2, 3, -5)}, {"targets": (2, 3, 70000)}, {"targets": (2,)},
    {"targets": (2,) * 9}, {"weights": (1.0,)}, {"loss_fn": "unknown"},
)
# Each would leave numbers in the weights that no neighbour may meet.
POISON_STEPS = ({"learning_rate": 1e300}, {"learning_rate": 1e30}, {"eps": 0.0, "beta2": 0.0},
                {"learning_rate": -1.0}, {"beta1": 7.0}, {"grad_clip_norm": -3.0})
BAD_SAMPLES = ({"prompt": (1, -2)}, {"prompt": (70000,)}, {"prompt": (1,) * 5000}, {"top_p": 7.0},
               {"temperature": -1.0}, {"max_tokens": 10**9}, {"stop": [-4]}, {"top_k": -9})


class Tenants(Gateway):
    """What one client sends wrong never reaches another's model: on trainers of their own."""

    RANK = 0

    def model_of(self, client, session):
        made = client.result(client.model(session, rank=self.RANK))
        self.assertIn("model_id", made)
        return made["model_id"]

    def run_clean(self, client, model, steps):
        """Every number that a client sees of a model's life."""
        seen = []
        for step in range(steps):
            passed = client.post(
                "forward_backward", pass_body(model, 3 * step + 1).SerializeToString(), PROTOBUF
            )[1]
            body = {"model_id": model, "seq_id": 3 * step + 2,
                    "adam_params": {"learning_rate": 0.01}}
            stepped = client.post("optim_step", body)[1]
            seen.append(loss_of(client.result(passed)))
            seen.append(client.result(stepped)["metrics"]["grad_norm:max"])
            sampler = client.sampler(model, 3 * step + 3, step)
            acks = [client.sample(sampler, number, seed=number + 1) for number in range(3)]
            seen += [tokens_of(client.result(ack)) for ack in acks]
        return seen

    def pour(self, client, model, stop, answers):
        """All that is wrong, again and again; then with weights that are beyond repair."""
        sampler = client.sampler(model, 1, 0)
        turn, drawn = 1, 0
        while not stop.is_set():
            acks = []
            for options in BAD_PASSES:
                for only in (False, True):
                    turn += 1
                    body = pass_body(model, turn, forward_only=only, **options)
                    acks.append(client.post("forward_backward", body.SerializeToString(),
                                            PROTOBUF)[1])
            for options in BAD_SAMPLES:
                drawn += 1
                acks.append(client.sample(sampler, drawn, **options))
            answers.append([client.result(ack) for ack in acks])
            huge = pass_body(model, turn + 1, weights=(3e38, 3e38, 3e38)).SerializeToString()
            acks = [client.post("forward_backward", huge, PROTOBUF)[1]]
            turn += 1
            for params in POISON_STEPS:
                turn += 2
                good = pass_body(model, turn - 1).SerializeToString()
                acks.append(client.post("forward_backward", good, PROTOBUF)[1])
                body = {"model_id": model, "seq_id": turn, "adam_params": params}
                acks.append(client.post("optim_step", body)[1])
            for ack in acks:
                client.result(ack)
            turn, drawn = turn + 1, drawn + 1
            broken = client.result(client.post("save_weights_for_sampler", {
                "model_id": model, "seq_id": turn, "sampling_session_seq_id": turn})[1])
            if "sampling_session_id" in broken:
                client.result(client.sample(broken["sampling_session_id"], drawn))

    def test_bad_data_of_one_changes_nothing_for_another(self):
        first = self.model_of(self.client, self.session)
        wanted = self.run_clean(self.client, first, 4)
        self.client.finish(self.session)
        bad = Client(self.cluster, self.cluster.create_key("bad")["key"])
        bad_session = bad.session()
        bad_model = self.model_of(bad, bad_session)
        self.session = self.client.session()
        good = self.model_of(self.client, self.session)
        stop, answers, problems = threading.Event(), [], []

        def work():
            try:
                self.pour(bad, bad_model, stop, answers)
            except Exception as problem:  # told to the test below
                problems.append(problem)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            seen = self.run_clean(self.client, good, 4)
        finally:
            stop.set()
            worker.join()
        self.assertEqual(problems, [])
        self.assertEqual(seen, wanted)
        # Later ones met weights that this tenant had ruined: their answers are its own affair.
        self.assertGreaterEqual(len(answers), 1)
        first = answers[0]
        self.assertEqual([a for a in first if not isinstance(a, dict)], [])
        self.assertEqual({a["category"] for a in first}, {"user"}, first)
        bad.finish(bad_session)

    def test_slow_and_half_open_clients_hold_nobody_up(self):
        place = (self.client.place.hostname, self.client.place.port)
        head = (b"POST /api/v1/optim_step HTTP/1.1\r\nhost: x\r\nx-api-key: "
                + self.client.key.encode())
        slow = []
        for index in range(300):
            one = socket.create_connection(place)
            if index % 3 == 0:
                one.sendall(head + b"\r\ncontent-length: 100000\r\n\r\nhalf a body")
            if index % 3 == 1:
                one.sendall(head)
            slow.append(one)
        made = self.client.result(self.client.model(self.session))["model_id"]
        self.assertEqual(len(self.run_clean(self.client, made, 1)), 5)
        for one in slow:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
        self.assertEqual(self.client.send("GET", "/api/v1/healthz")[0], 200)


class SharedTrainer(Tenants):
    """The same in one trainer process, on one frozen base, and in one sampler's batches."""

    RANK = 8
    TRAINERS = "count = 1"


class Quotas(unittest.TestCase):
    SECTIONS = "[gateway]\nrequests_per_second_per_key = 20\nmodels_per_key = 1\n"

    @classmethod
    def setUpClass(cls):
        cls.cluster = LiveCluster(Gateway.PROGRAMS, cls.SECTIONS)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def test_one_key_floods_and_another_works(self):
        greedy = Client(self.cluster)
        seen = [greedy.post("client/config", {})[0] for _ in range(100)]
        self.assertEqual(set(seen), {200, 429})
        counted = 'answers_total{route="/api/v1/client/config",status="429"}'
        self.assertEqual(greedy.metrics()[counted], seen.count(429))
        other = Client(self.cluster, self.cluster.create_key("other")["key"])
        self.assertEqual(other.post("client/config", {})[0], 200)

    def test_samples_beyond_the_rate_are_taken_when_asked_again(self):
        client = Client(self.cluster, self.cluster.create_key("eager")["key"])
        sampler = client.base_sampler(client.session())
        acks, num_refused = {}, 0
        while len(acks) < 100:
            for turn in set(range(100)) - set(acks):
                answer = client.sample(sampler, turn)
                if "request_id" in answer:
                    acks[turn] = answer
                    continue
                num_refused += 1
                self.assertEqual(answer["category"], "server", answer)
                self.assertIn("more than 20 requests per second", answer["detail"])
        self.assertGreater(num_refused, 0)
        self.assertEqual(len({ack["request_id"] for ack in acks.values()}), 100)
        for ack in acks.values():
            self.assertEqual([len(t) for t, _ in tokens_of(client.result(ack))], [32, 32])

    def test_one_model_too_many_is_refused(self):
        client = Client(self.cluster, self.cluster.create_key("modest")["key"])
        session = client.session()
        self.assertIn("model_id", client.result(client.model(session, 0)))
        failed = client.result(client.model(session, 1))
        self.assertIn("models_per_key", failed["error"])
        client.finish(session)
        session = client.session()
        self.assertIn("model_id", client.result(client.model(session, 0)))
        client.finish(session)


class Backpressure(unittest.TestCase):
    """Samples of a key whose requests already hold all that they may."""

    NUM_PROMPTS, TOKENS = 24, 8

    def setUp(self):
        self.cluster = LiveCluster(Gateway.PROGRAMS, "[gateway]\nheld_mebibytes_per_key = 1\n")
        self.addCleanup(self.cluster.close)
        os.environ["TINKER_BASE_URL"] = self.cluster.url
        os.environ["TINKER_API_KEY"] = self.cluster.key
        self.client = Client(self.cluster)
        self.session = self.client.session()
        self.sampler = self.client.base_sampler(self.session)

    def num_refused(self):
        series = 'answers_total{route="/api/v1/asample",status="429"}'
        return self.client.metrics().get(series, 0)

    def num_sampled(self):
        return self.client.metrics().get('tokens_total{kind="sampled"}', 0)

    def hold_everything(self):
        """The acknowledgement of a sample that is as large as all of the key's may be."""
        body = {"sampling_session_id": self.sampler, "seq_id": 0, "num_samples": 200,
                "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1]}]},
                "sampling_params": {"max_tokens": 2000, "stop": []}}
        status, ack = self.client.post("asample", json.dumps(body).encode() + b" " * (1 << 20))
        self.assertEqual(status, 200, ack)
        return ack

    def let_go(self, ack):
        status, _ = self.client.post("cancel_future", {"request_id": ack["request_id"]})
        self.assertEqual(status, 200)
        # It was there until now.
        self.assertIn("cancelled", self.client.result(ack)["error"])

    def draw(self, sampling):
        params = types.SamplingParams(max_tokens=self.TOKENS, seed=5, stop=[])
        prompts = [types.ModelInput.from_ints([1, 2, n]) for n in range(self.NUM_PROMPTS)]
        return [sampling.sample(prompt, 1, params) for prompt in prompts]

    def rows(self, futures):
        drawn = [sequence for future in futures for sequence in future.result().sequences]
        return [(list(sequence.tokens), list(sequence.logprobs)) for sequence in drawn]

    def test_the_sdk_waits_and_nothing_is_lost(self):
        with tinker.ServiceClient() as service:
            sampling = service.create_sampling_client(base_model="tiny").result()
            wanted = self.rows(self.draw(sampling))
            self.assertEqual(self.num_refused(), 0)
            sampled = self.num_sampled()
            ack = self.hold_everything()
            futures = self.draw(sampling)
            while self.num_refused() == 0:
                self.assertGreater(self.client.num_open("samples"), 0)
            self.let_go(ack)
            self.assertEqual(self.rows(futures), wanted)
        # Each was drawn once.
        self.assertEqual(self.num_sampled() - sampled, self.NUM_PROMPTS * self.TOKENS)

    def test_the_answer_says_why_and_the_same_turn_is_taken_later(self):
        ack = self.hold_everything()
        body = {"sampling_session_id": self.sampler, "seq_id": 1, "num_samples": 1,
                "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1]}]},
                "sampling_params": {"max_tokens": self.TOKENS, "stop": []}}
        for _ in range(3):
            status, answer = self.client.post("asample", body)
            self.assertEqual(status, 429)
            self.assertEqual(set(answer), {"detail", "category"})
            self.assertIn("send the request again later", answer["detail"])
            self.assertEqual(answer["category"], "server")
        # What one key holds is no other key's affair.
        other = Client(self.cluster, self.cluster.create_key("other")["key"])
        self.assertEqual(len(other.session()), len(self.session))
        self.let_go(ack)
        status, taken = self.client.post("asample", body)
        self.assertEqual(status, 200, taken)
        self.assertEqual(len(tokens_of(self.client.result(taken))[0][0]), 4 * self.TOKENS)


class Tls(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-tls-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.certificate, self.key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "1", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True,
        )

    def test_keys_and_data_travel_encrypted(self):
        sections = (f'[gateway]\nhost = "0.0.0.0"\ntls_certificate = "{self.certificate}"\n'
                    f'tls_key = "{self.key}"\n')
        cluster = LiveCluster(Gateway.PROGRAMS, sections)
        try:
            port = urllib.parse.urlparse(cluster.url).port
            self.assertTrue(cluster.url.startswith("https://"))
            trusted = ssl.create_default_context(cafile=self.certificate)
            client = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=trusted)
            for _ in range(2):
                client.request("GET", "/api/v1/get_server_capabilities",
                               headers={"x-api-key": cluster.key})
                answer = client.getresponse()
                self.assertEqual(answer.status, 200)
                self.assertIn(b"tiny", answer.read())
            client.close()
            plain = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            plain.request("GET", "/api/v1/healthz")
            with self.assertRaises((http.client.HTTPException, OSError)):
                plain.getresponse()
            plain.close()
        finally:
            cluster.close()

    def test_other_hosts_are_refused_without_an_active_key(self):
        cluster = LiveCluster(Gateway.PROGRAMS)
        self.addCleanup(cluster.close)
        cluster.revoke_key("first")
        self.check_nobody_could_use_it(cluster)
        (cluster.data / "keys.json").unlink()
        self.check_nobody_could_use_it(cluster)

    def check_nobody_could_use_it(self, cluster):
        done = subprocess.run(
            [pathlib.Path(Gateway.PROGRAMS) / "troupe-gateway", "--data-folder", cluster.data,
             "--host", "0.0.0.0", "--tls-certificate", self.certificate, "--tls-key", self.key],
            capture_output=True, text=True, timeout=60, check=False,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        (line,) = done.stderr.splitlines()
        for words in ("0.0.0.0", "no active API key", "troupe key create"):
            self.assertIn(words, line)

    def test_a_cluster_without_an_active_key_is_not_served_to_other_hosts(self):
        cluster = LiveCluster(Gateway.PROGRAMS)
        self.addCleanup(cluster.close)
        cluster.revoke_key("first")
        cluster.process.send_signal(signal.SIGINT)
        cluster.process.wait(timeout=60)
        with cluster.file.open("a") as file:
            file.write(f'[gateway]\nhost = "0.0.0.0"\ntls_certificate = "{self.certificate}"\n'
                       f'tls_key = "{self.key}"\n')
        done = subprocess.run(
            [cluster.programs / "troupe", "up", cluster.file, "--json"],
            capture_output=True, text=True, timeout=120, check=False,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("no active API key", json.dumps(json.loads(done.stdout)))
        self.assertEqual(cluster.process_ids("--role="), [])

    def test_other_hosts_are_refused_without_it(self):
        for words in (["--host", "0.0.0.0"],
                      ["--host", "0.0.0.0", "--tls-key", self.key],
                      ["--host", "192.168.1.2"]):
            done = subprocess.run(
                [pathlib.Path(Gateway.PROGRAMS) / "troupe-gateway", "--data-folder", self.folder,
                 *words],
                capture_output=True, text=True, timeout=30, check=False,
            )
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("tls_certificate", done.stderr)


if __name__ == "__main__":
    Gateway.PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
