"""The gateway against a client that is not the SDK: repeated, late and hostile requests. What is
refused must change nothing; what is repeated must happen once.

Usage: http_test.py FOLDER_OF_PROGRAMS
"""

import concurrent.futures
import socket
import struct
import sys
import unittest

from tinker.proto import tinker_public_pb2 as pb

from raw_client import JSON, PROTOBUF, Client, Gateway, loss_of, pass_body


class Repeats(Gateway):
    def test_a_repeated_request_is_the_same_request(self):
        body = {"session_id": self.session, "model_seq_id": 0, "base_model": "tiny"}
        first = self.client.post("create_model", body)
        self.assertEqual(self.client.post("create_model", body), first)
        model = self.client.result(first[1])["model_id"]
        step = {"model_id": model, "seq_id": 2, "adam_params": {"learning_rate": 0.01}}
        turn = pass_body(model, 1).SerializeToString()
        acks = [self.client.post("forward_backward", turn, PROTOBUF) for _ in range(3)]
        self.assertEqual(len({ack[1]["request_id"] for ack in acks}), 1)
        steps = [self.client.post("optim_step", step) for _ in range(3)]
        results = [self.client.result(ack[1]) for ack in steps]
        self.assertEqual([r["metrics"]["step:max"] for r in results], [1, 1, 1])
        self.assertEqual(results[0], results[1])

    def test_repeats_from_many_connections_train_once(self):
        model = self.model()
        turn = pass_body(model, 1).SerializeToString()
        clients = [Client(self.cluster) for _ in range(8)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            acks = list(pool.map(lambda c: c.post("forward_backward", turn, PROTOBUF)[1], clients))
        self.assertEqual(len({ack["request_id"] for ack in acks}), 1)
        step = {"model_id": model, "seq_id": 2, "adam_params": {"learning_rate": 0.01}}
        once = self.client.result(self.client.post("optim_step", step)[1])["metrics"]
        other = self.model(1)
        turn = pass_body(other, 1).SerializeToString()
        self.client.post("forward_backward", turn, PROTOBUF)
        step["model_id"] = other
        wanted = self.client.result(self.client.post("optim_step", step)[1])["metrics"]
        self.assertEqual(once["grad_norm:max"], wanted["grad_norm:max"])

    def test_a_turn_is_not_used_for_another_request(self):
        model = self.model()
        first = pass_body(model, 1).SerializeToString()
        other = pass_body(model, 1, targets=(4, 4, 4)).SerializeToString()
        self.assertEqual(self.client.post("forward_backward", first, PROTOBUF)[0], 200)
        status, answer = self.client.post("forward_backward", other, PROTOBUF)
        self.assertEqual(status, 400)
        self.assertIn("another request", answer["detail"])

    def test_a_skipped_turn_holds_nobody_up(self):
        model = self.model()
        self.assertTrue(self.forward_loss(model, 5) > 0)
        self.assertTrue(self.forward_loss(model, 9) > 0)

    def test_results_can_be_fetched_again_and_by_several(self):
        model = self.model()
        turn = pass_body(model, 1).SerializeToString()
        ack = self.client.post("forward_backward", turn, PROTOBUF)[1]
        clients = [Client(self.cluster) for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda c: c.result(ack), clients))
        self.assertEqual(len(set(results)), 1)
        self.assertEqual(self.client.result(ack), results[0])

    def test_a_sample_is_drawn_once(self):
        sampler = self.client.base_sampler(self.session)
        body = {
            "sampling_session_id": sampler,
            "seq_id": 0,
            "num_samples": 3,
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1, 2]}]},
            "sampling_params": {"max_tokens": 4},
        }
        first, second = self.client.post("asample", body), self.client.post("asample", body)
        self.assertEqual(first, second)
        self.assertEqual(len(set(first[1]["sample_sequence_ids"])), 3)
        out = pb.SampleResponse()
        out.ParseFromString(self.client.result(first[1]))
        self.assertEqual([len(s.tokens) for s in out.sequences], [16, 16, 16])


class BadInput(Gateway):
    def test_bad_batches_fail_their_future_and_change_nothing(self):
        model = self.model()
        before = self.forward_loss(model, 1)
        nan, infinity = float("nan"), float("inf")
        cases = [
            (pass_body(model, 10, weights=(nan, 1.0, 1.0)), "NaN"),
            (pass_body(model, 11, weights=(1.0, infinity, 1.0)), "infinity"),
            (pass_body(model, 12, targets=(2, 3)), "target_tokens"),
            (pass_body(model, 13, weights=(1.0,)), "weights"),
            (pass_body(model, 14, tokens=(1, 2, 70000)), "vocabulary"),
            (pass_body(model, 15, tokens=(1, -2, 3)), "negative"),
            (pass_body(model, 16, targets=(2, 3, -100)), "no token"),
            (pass_body(model, 17, targets=(2, 3, 1 << 40)), "no token"),
            (pass_body(model, 18, loss_fn="made_up"), "made_up"),
            (pass_body(model, 19, tokens=(), targets=(), weights=()), "model_input"),
            (pass_body(model, 20, tokens=(1,) * 5000, targets=(1,) * 5000,
                       weights=(1.0,) * 5000), "5000"),
        ]
        extra = pass_body(model, 21)
        extra.data[0].loss_fn_inputs["mystery"].CopyFrom(extra.data[0].loss_fn_inputs["weights"])
        cases.append((extra, "mystery"))
        image = pass_body(model, 22)
        image.data[0].model_input.add().image.data = b"png"
        cases.append((image, "text"))
        shape = pass_body(model, 23)
        shape.data[0].loss_fn_inputs["weights"].shape[0] = 1 << 60
        cases.append((shape, "shape"))
        empty = pass_body(model, 24)
        del empty.data[:]
        cases.append((empty, "datums"))
        config = pass_body(model, 25)
        config.loss_fn_config_v2["mode"].text = "fast"
        cases.append((config, "mode"))
        for body, word in cases:
            with self.subTest(word=word, seq_id=body.seq_id):
                status, ack = self.client.post(
                    "forward_backward", body.SerializeToString(), PROTOBUF
                )
                self.assertEqual(status, 200, ack)
                failed = self.client.result(ack)
                self.assertEqual(failed["category"], "user")
                self.assertIn(word, failed["error"])
        step = {"model_id": model, "seq_id": 30, "adam_params": {"learning_rate": 1.0}}
        norm = self.client.result(self.client.post("optim_step", step)[1])["metrics"]
        self.assertEqual(norm["grad_norm:max"], 0)
        self.assertAlmostEqual(self.forward_loss(model, 31), before, places=4)

    def test_sparse_rows_are_what_they_mean(self):
        model = self.model()
        dense = pass_body(model, 1, weights=(0.0, 2.0, 0.0), forward_only=True)
        sparse = pass_body(model, 2, forward_only=True)
        weight = sparse.data[0].loss_fn_inputs["weights"]
        weight.sparse_csr.values = struct.pack("<f", 2.0)
        weight.sparse_csr.crow_indices = struct.pack("<4q", 0, 0, 1, 1)
        weight.sparse_csr.col_indices = struct.pack("<q", 0)
        weight.shape[:] = [3, 1]
        losses = [
            loss_of(self.client.result(
                self.client.post("forward_backward", body.SerializeToString(), PROTOBUF)[1]))
            for body in (dense, sparse)
        ]
        self.assertEqual(losses[0], losses[1])
        weight.sparse_csr.crow_indices = struct.pack("<4q", 0, 9, -1, 1)
        sparse.seq_id = 3
        ack = self.client.post("forward_backward", sparse.SerializeToString(), PROTOBUF)[1]
        self.assertIn("out of order", self.client.result(ack)["error"])

    def test_broken_envelopes_are_refused_with_a_body(self):
        model = self.model()
        good = pass_body(model, 1).SerializeToString()
        cases = [
            ("forward_backward", good[:-7], PROTOBUF),
            ("forward_backward", b"\xff" * 100, PROTOBUF),
            ("forward_backward", pass_body(model, 0).SerializeToString(), PROTOBUF),
            ("optim_step", b"{", JSON),
            ("optim_step", b"[1]", JSON),
            ("optim_step", b"[" * 100000, JSON),
            ("optim_step", {"model_id": model, "seq_id": 1}, JSON),
            ("optim_step", {"model_id": model, "seq_id": "1", "adam_params": {}}, JSON),
            ("optim_step", {"model_id": model, "seq_id": 1,
                            "optimizer_params": {"type": "dimuon"}}, JSON),
            ("create_model", {"session_id": self.session, "base_model": "tiny"}, JSON),
            ("create_model", {"session_id": self.session, "model_seq_id": 5, "base_model": "tiny",
                              "lora_config": {"rank": 1 << 40}}, JSON),
            ("save_weights", {"model_id": model, "seq_id": 1, "path": "../up"}, JSON),
            ("load_weights", {"model_id": model, "seq_id": 1, "path": "/etc/passwd",
                              "optimizer": True}, JSON),
            ("weights_info", {"tinker_path": "tinker://a/b"}, JSON),
        ]
        for path, body, kind in cases:
            with self.subTest(path=path, body=str(body)[:60]):
                status, answer = self.client.post(path, body, kind)
                self.assertEqual(status, 400, answer)
                self.assertTrue(answer["detail"])
        self.assertTrue(self.forward_loss(model, 1) > 0)

    def test_unknown_things_are_not_found(self):
        other = self.session[:-1] + ("0" if self.session[-1] != "0" else "1")
        for path, body in [
            ("get_info", {"model_id": f"{self.session}:train:77"}),
            ("get_info", {"model_id": f"{other}:train:0"}),
            ("get_info", {"model_id": "../../keys"}),
            ("get_info", {"model_id": ""}),
            ("create_sampling_session",
             {"session_id": self.session, "sampling_session_seq_id": 1, "base_model": "huge"}),
            ("asample", {"sampling_session_id": f"{self.session}:sample:9", "seq_id": 0}),
        ]:
            with self.subTest(path=path, body=body):
                self.assertEqual(self.client.post(path, body)[0], 404)
        self.assertEqual(self.client.send("GET", "/api/v1/nothing")[0], 404)
        self.assertEqual(self.client.send("DELETE", "/api/v1/create_model")[0], 404)
        self.assertEqual(self.client.post("retrieve_future", {"request_id": "x"})[0], 410)

    def raw(self, data, wanted):
        with socket.create_connection((self.client.place.hostname, self.client.place.port)) as s:
            s.settimeout(20)
            s.sendall(data)
            self.assertIn(wanted, s.recv(4096))

    def test_what_is_no_http_is_cut_off(self):
        self.raw(b"\x16\x03\x01 hello\r\n\r\n", b"400")
        start = b"POST /api/v1/optim_step HTTP/1.1\r\nhost: x\r\n"
        head = start + b"x-api-key: " + self.client.key.encode()
        self.raw(head + b"\r\ncontent-length: 999999999999\r\n\r\n", b"413")
        self.raw(head + b"\r\nx-long: " + b"a" * 100000 + b"\r\n\r\n", b"400")
        self.raw(head + b"\r\ncontent-length: minus\r\n\r\n", b"400")
        # A stranger's body is not even read.
        self.raw(start + b"content-length: 99\r\n\r\n", b"401")

    def test_metrics_count_answers_by_route(self):
        route = 'troupe_gateway_answers_total{route="/api/v1/sessions/{}/finish",status="404"}'
        for _ in range(2):
            self.client.post("sessions/made-up/finish", {})
        status, text = self.client.send("GET", "/metrics")
        self.assertEqual(status, 200)
        rows = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")
        self.assertGreaterEqual(float(rows[route]), 2)
        self.assertGreaterEqual(float(rows['troupe_gateway_open{kind="sessions"}']), 1)
        self.assertNotIn("made-up", text.decode())

    def test_silent_connections_hold_nobody_up(self):
        place = (self.client.place.hostname, self.client.place.port)
        idle = [socket.create_connection(place) for _ in range(200)]
        for one in idle[:100]:
            one.sendall(b"POST /api/v1/optim_step HTTP/1.1\r\n")
        self.assertEqual(self.client.send("GET", "/api/v1/healthz"), (200, {"status": "ok"}))
        for one in idle:
            one.close()
        self.assertEqual(self.client.send("GET", "/api/v1/healthz"), (200, {"status": "ok"}))


class Endings(Gateway):
    def test_a_finished_session_gives_its_trainers_back(self):
        for _ in range(3):
            client = Client(self.cluster)
            session = client.session()
            models = [client.result(client.model(session, n)) for n in range(2)]
            self.assertTrue(all("model_id" in m for m in models), models)
            self.assertEqual(client.finish(session)[0], 200)
            status, _ = client.post("session_heartbeat", {"session_id": session})
            self.assertEqual(status, 410)

    def test_an_unloaded_model_frees_its_trainer_and_comes_back(self):
        model = self.model()
        before = self.forward_loss(model, 1)
        self.client.result(self.client.post("unload_model", {"model_id": model})[1])
        others = [self.model(1), self.model(2)]
        for other in others:
            self.client.result(self.client.post("unload_model", {"model_id": other})[1])
        self.assertEqual(self.forward_loss(model, 2), before)


class Deaths(Gateway):
    """A process is killed while requests are under way; clients see a delay."""

    def setUp(self):
        super().setUp()
        self.made = self.model()
        body = {"session_id": self.session, "sampling_session_seq_id": 7, "base_model": "tiny"}
        made = self.client.post("create_sampling_session", body)[1]
        self.sampler = made["sampling_session_id"]
        self.turn = 0

    def step(self):
        """A forward_backward and an optim_step; the second one's ack."""
        self.turn += 2
        turn = pass_body(self.made, self.turn - 1).SerializeToString()
        self.client.post("forward_backward", turn, PROTOBUF)
        step = {"model_id": self.made, "seq_id": self.turn, "adam_params": {"learning_rate": 0.01}}
        return self.client.post("optim_step", step)[1]

    def sample(self, seq_id):
        body = {
            "sampling_session_id": self.sampler,
            "seq_id": seq_id,
            "num_samples": 8,
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1, 2]}]},
            "sampling_params": {"max_tokens": 200, "seed": 5, "stop": []},
        }
        return self.client.post("asample", body)[1]

    def tokens(self, content):
        out = pb.SampleResponse()
        out.ParseFromString(content)
        return [(row.tokens, row.logprobs) for row in out.sequences]

    def kill(self, words):
        self.assertGreater(self.cluster.kill(words), 0)

    def check(self, words):
        before = self.tokens(self.client.result(self.sample(0)))
        self.client.result(self.step())
        sampled, stepped = self.sample(1), self.step()
        self.kill(words)
        metrics = self.client.result(stepped)["metrics"]
        self.assertEqual(metrics["step:max"], 2)
        self.assertGreater(metrics["grad_norm:max"], 0)
        self.assertEqual(self.tokens(self.client.result(sampled)), before)
        self.assertEqual(self.client.result(self.step())["metrics"]["step:max"], 3)

    def test_of_trainers(self):
        self.check("--role=trainer")

    def test_of_the_sampler(self):
        self.check("--role=sampler")

    def test_of_the_gateway(self):
        """Acknowledged requests, their repeats and results survive; samples are asked again."""
        first = self.step()
        done = self.client.result(first)
        turn = pass_body(self.made, 3).SerializeToString()
        step = {"model_id": self.made, "seq_id": 4, "adam_params": {"learning_rate": 0.01}}
        passed = self.client.post("forward_backward", turn, PROTOBUF)[1]
        stepped = self.client.post("optim_step", step)[1]
        sampled = self.sample(0)
        self.kill("troupe-gateway")
        self.client.connect_again()
        self.assertEqual(self.client.post("optim_step", step)[1], stepped)
        self.assertEqual(self.client.post("forward_backward", turn, PROTOBUF)[1], passed)
        other = pass_body(self.made, 3, targets=(4, 4, 4)).SerializeToString()
        self.assertEqual(self.client.post("forward_backward", other, PROTOBUF)[0], 400)
        metrics = self.client.result(stepped)["metrics"]
        self.assertEqual(metrics["step:max"], 2)
        self.assertGreater(metrics["grad_norm:max"], 0)
        self.assertTrue(loss_of(self.client.result(passed)) > 0)
        self.assertEqual(self.client.result(first), done)
        lost = {"request_id": sampled["request_id"]}
        self.assertEqual(self.client.post("retrieve_future", lost)[0], 410)
        self.assertTrue(self.client.result(self.sample(1)))
        self.assertEqual(self.client.post("session_heartbeat",
                                          {"session_id": self.session})[0], 200)
        self.turn = 4
        self.assertEqual(self.client.result(self.step())["metrics"]["step:max"], 3)

    def test_of_the_control_node(self):
        self.check("--role=control")


if __name__ == "__main__":
    Gateway.PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
