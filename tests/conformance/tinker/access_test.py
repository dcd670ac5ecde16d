"""Who may do what: every route of the gateway with no key, a wrong one, a revoked one, and the key
of somebody else.

Usage: access_test.py FOLDER_OF_PROGRAMS
"""

import sys
import unittest

from raw_client import PROTOBUF, Client, Gateway, pass_body

# Method, path after /api/v1/, body. {m}: a model, {s}: its session, {x}: a sampling session, {f}: a
# future, {w}: "<model>/checkpoints/weights/mine", {t}: tinker path of weights, {p}: of sampler
# weights, {o}: the caller's own session.
ROUTES = [
    ("POST", "client/config", {}, 200),
    ("POST", "client/dynamic_config", {}, 200),
    ("POST", "create_session", {}, 200),
    ("GET", "get_server_capabilities", None, 200),
    ("POST", "telemetry", {}, 200),
    ("GET", "sessions", None, 200),
    ("POST", "sessions/search", {}, 200),
    ("GET", "training_runs", None, 200),
    ("GET", "checkpoints", None, 200),
    ("POST", "session_heartbeat", {"session_id": "{s}"}, 410),
    ("POST", "sessions/{s}/finish", {}, 404),
    ("GET", "sessions/{s}", None, 404),
    ("PUT", "sessions/{s}/project", {"project_id": "p"}, 404),
    ("GET", "sessions/{s}/trace_export", None, 404),
    ("POST", "create_model", {"session_id": "{s}", "model_seq_id": 9, "base_model": "tiny"}, 404),
    ("POST", "get_info", {"model_id": "{m}"}, 404),
    ("POST", "unload_model", {"model_id": "{m}"}, 404),
    ("POST", "forward_backward", "turn", 404),
    ("POST", "optim_step", {"model_id": "{m}", "seq_id": 9, "adam_params": {}}, 404),
    ("POST", "save_weights", {"model_id": "{m}", "seq_id": 9, "path": "x"}, 404),
    ("POST", "save_weights_external", {"model_id": "{m}", "seq_id": 9, "path": "x"}, 404),
    ("POST", "save_weights_for_sampler", {"model_id": "{m}", "seq_id": 9, "path": "x"}, 404),
    ("POST", "load_weights", {"model_id": "{m}", "seq_id": 9, "path": "{t}"}, 404),
    ("POST", "load_weights", {"session_id": "{o}", "model_seq_id": 0, "path": "{t}"}, 404),
    ("POST", "weights_info", {"tinker_path": "{t}"}, 404),
    ("POST", "copy_weights", {"session_id": "{o}", "model_seq_id": 8, "source_path": "{t}"}, 404),
    ("POST", "create_sampling_session",
     {"session_id": "{s}", "sampling_session_seq_id": 5, "base_model": "tiny"}, 404),
    ("POST", "create_sampling_session",
     {"session_id": "{o}", "sampling_session_seq_id": 5, "model_path": "{p}"}, 404),
    ("POST", "join_sampling_session", {"sampling_session_id": "{x}"}, 404),
    ("GET", "samplers/{x}", None, 404),
    ("POST", "asample", {"sampling_session_id": "{x}", "seq_id": 0}, 404),
    ("POST", "retrieve_future", {"request_id": "{f}"}, 410),
    ("POST", "retrieve_futures",
     {"target": {"type": "sampling_session", "sampling_session_id": "{x}"}, "prev_cursor": 0,
      "timeout": 0}, 404),
    ("POST", "cancel_future", {"request_id": "{f}"}, 404),
    ("GET", "training_runs/{m}", None, 404),
    ("GET", "training_runs/{m}/checkpoints", None, 404),
    ("POST", "training_runs/{w}/publish", None, 404),
    ("DELETE", "training_runs/{w}/publish", None, 404),
    ("PUT", "training_runs/{w}/ttl", {"ttl_seconds": 1}, 404),
    ("GET", "training_runs/{w}/archive", None, 404),
    ("GET", "training_runs/{w}/external_weights_urls", None, 404),
    ("DELETE", "training_runs/{w}", None, 404),
    ("GET", "made_up", None, 404),
]


class Access(Gateway):
    def setUp(self):
        super().setUp()
        self.made = self.client.result(self.client.model(self.session))["model_id"]
        named = {"model_id": self.made, "seq_id": 1, "path": "mine"}
        ack = self.client.post("save_weights", named)[1]
        weights = self.client.result(ack)["path"]
        named = {"model_id": self.made, "seq_id": 2, "path": "mine"}
        saved = self.client.post("save_weights_for_sampler", named)[1]
        sampler = self.client.base_sampler(self.session)
        self.names = {
            "m": self.made, "s": self.session, "x": sampler, "f": ack["request_id"], "t": weights,
            "w": f"{self.made}/checkpoints/weights/mine", "p": self.client.result(saved)["path"],
        }

    def filled(self, value, own):
        if isinstance(value, str):
            for letter, name in {**self.names, "o": own}.items():
                value = value.replace("{" + letter + "}", name)
            return value
        if isinstance(value, dict):
            return {key: self.filled(inner, own) for key, inner in value.items()}
        return value

    def call(self, client, method, path, body, own=""):
        path = "/api/v1/" + self.filled(path, own)
        if body == "turn":
            turn = pass_body(self.made, 9).SerializeToString()
            return client.send(method, path, turn, PROTOBUF)
        return client.send(method, path, b"" if body is None else self.filled(body, own))

    def test_every_route_wants_an_active_key(self):
        revoked = self.cluster.create_key("revoked")["key"]
        self.assertEqual(Client(self.cluster, revoked).post("client/config", {})[0], 200)
        self.cluster.revoke_key("revoked")
        for key in ("", "tml-wrong", self.client.key[:-1], revoked):
            stranger = Client(self.cluster, key)
            for method, path, body, _ in ROUTES:
                with self.subTest(path=path, key=key[:8]):
                    status, answer = self.call(stranger, method, path, body)
                    self.assertEqual(status, 401)
                    self.assertIn("troupe key create", answer["detail"])
        self.assertEqual(Client(self.cluster, "").send("GET", "/api/v1/healthz")[0], 200)
        self.check_untouched()

    def test_another_key_sees_and_changes_nothing(self):
        other = Client(self.cluster, self.cluster.create_key("other")["key"])
        own = other.session()
        for method, path, body, wanted in ROUTES:
            with self.subTest(method=method, path=path):
                status, answer = self.call(other, method, path, body, own)
                self.assertEqual(status, wanted, answer)
                for name in (self.made, self.session, self.names["x"]):
                    if wanted == 200:
                        self.assertNotIn(name, str(answer))
        other.finish(own)
        self.check_untouched()

    def test_the_table_holds_every_route(self):
        """Routes that are counted under their pattern must stand in the table."""
        text = self.client.send("GET", "/metrics")[1].decode()
        seen = {line.split('"')[1] for line in text.splitlines() if "answers_total{" in line}
        # Open ones: the last is guarded by the signature in its query.
        patterns = {"/api/v1/healthz", "/healthz", "/metrics", "/api/v1/exports/{}/{}"}
        for _, path, _, _ in ROUTES:
            path = path.replace("{w}", "{}/checkpoints/{}/{}")
            for letter in "msx":
                path = path.replace("{" + letter + "}", "{}")
            patterns.add("/api/v1/" + path)
        self.assertEqual(seen - patterns, set())

    def check_untouched(self):
        run = self.client.send("GET", f"/api/v1/training_runs/{self.made}")[1]
        self.assertEqual(run["last_checkpoint"]["tinker_path"], self.names["t"])
        self.assertFalse(run["last_checkpoint"]["public"])
        self.assertNotIn("expires_at", run["last_checkpoint"])
        step = {"model_id": self.made, "seq_id": 9, "adam_params": {}}
        done = self.client.result(self.client.post("optim_step", step)[1])
        self.assertEqual(done["metrics"]["step:max"], 1)


if __name__ == "__main__":
    Gateway.PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
