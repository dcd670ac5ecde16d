"""A client of the gateway that is not the SDK, for tests of what the SDK never sends."""

import http.client
import json
import struct
import unittest
import urllib.parse

from tinker.proto import tinker_public_pb2 as pb

from live_cluster import LiveCluster

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


class Client:
    """One connection of one key."""

    def __init__(self, cluster, key=None):
        self.place = urllib.parse.urlparse(cluster.url)
        self.key = cluster.key if key is None else key
        self.connection = http.client.HTTPConnection(self.place.hostname, self.place.port, 90)

    def connect_again(self):
        """To a gateway that is being started again."""
        self.connection.close()
        while True:
            try:
                return self.connection.connect()
            except ConnectionRefusedError:
                pass

    def send(self, method, path, body=b"", content_type=JSON, more=None):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        headers = {"content-type": content_type, "accept": f"{JSON}, {PROTOBUF}"}
        headers.update(more or {})
        if self.key:
            headers["x-api-key"] = self.key
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        is_json = answer.headers.get("content-type", "").startswith(JSON)
        return answer.status, json.loads(content) if is_json else content

    def post(self, path, body, content_type=JSON):
        return self.send("POST", "/api/v1/" + path, body, content_type)

    def result(self, ack):
        while True:
            status, value = self.post("retrieve_future", {"request_id": ack["request_id"]})
            if status != 408:
                return value

    def session(self):
        return self.post("create_session", {"tags": [], "sdk_version": "0.38.0"})[1]["session_id"]

    def model(self, session, number=0, rank=0):
        """Rank 0 trains all weights."""
        body = {"session_id": session, "model_seq_id": number, "base_model": "tiny"}
        if rank:
            body["lora_config"] = {"rank": rank, "seed": 1}
        return self.post("create_model", body)[1]

    def sampler(self, model, seq_id, number):
        """A sampling session on the model's weights of now."""
        body = {"model_id": model, "seq_id": seq_id, "sampling_session_seq_id": number}
        return self.result(self.post("save_weights_for_sampler", body)[1])["sampling_session_id"]

    def base_sampler(self, session, number=0):
        """A sampling session on the base's own weights."""
        body = {"session_id": session, "sampling_session_seq_id": number, "base_model": "tiny"}
        return self.post("create_sampling_session", body)[1]["sampling_session_id"]

    def sample(self, sampler, seq_id, prompt=(1, 2, 3), **params):
        """The acknowledgement."""
        body = {"sampling_session_id": sampler, "seq_id": seq_id, "num_samples": 2,
                "prompt": {"chunks": [{"type": "encoded_text", "tokens": list(prompt)}]},
                "sampling_params": {"max_tokens": 8, "seed": 3, "stop": [], **params}}
        return self.post("asample", body)[1]

    def metrics(self):
        """Series, without their common prefix -> value; what was never counted is not there."""
        status, text = self.send("GET", "/metrics")
        assert status == 200, (status, text)
        rows = (line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")
        return {name.removeprefix("troupe_gateway_"): float(value) for name, value in rows}

    def num_open(self, kind):
        return int(self.metrics()[f'open{{kind="{kind}"}}'])

    def finish(self, session):
        return self.post(f"sessions/{session}/finish", {"reason": {"type": "success"}})


def pass_body(model, seq_id, tokens=(1, 2, 3), targets=(2, 3, 4), weights=(1.0, 1.0, 1.0), **more):
    out = pb.ForwardBackwardRequest(model_id=model, seq_id=seq_id, loss_fn="cross_entropy")
    row = out.data.add()
    row.model_input.add().encoded_text.tokens = struct.pack(f"<{len(tokens)}i", *tokens)
    target = row.loss_fn_inputs["target_tokens"]
    target.dense, target.dtype = struct.pack(f"<{len(targets)}q", *targets), pb.DTYPE_INT64
    target.shape.append(len(targets))
    weight = row.loss_fn_inputs["weights"]
    weight.dense, weight.dtype = struct.pack(f"<{len(weights)}f", *weights), pb.DTYPE_FLOAT32
    weight.shape.append(len(weights))
    for name, value in more.items():
        setattr(out, name, value)
    return out


def tokens_of(content):
    """Of every sample."""
    out = pb.SampleResponse()
    out.ParseFromString(content)
    return [(row.tokens, row.logprobs) for row in out.sequences]


def loss_of(content):
    out = pb.ForwardBackwardOutput()
    out.ParseFromString(content)
    return out.metrics["loss:sum"]


class Gateway(unittest.TestCase):
    PROGRAMS = ""
    TRAINERS = "count = 2"
    POSITIONS = 2048

    @classmethod
    def setUpClass(cls):
        cls.cluster = LiveCluster(cls.PROGRAMS, trainers=cls.TRAINERS, positions=cls.POSITIONS)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.client = Client(self.cluster)
        self.session = self.client.session()

    def tearDown(self):
        self.client.finish(self.session)

    def model(self, number=0):
        made = self.client.result(self.client.model(self.session, number))
        self.assertEqual(made["type"], "create_model", made)
        return made["model_id"]

    def forward_loss(self, model, seq_id):
        body = pass_body(model, seq_id, forward_only=True).SerializeToString()
        return loss_of(self.client.result(self.client.post("forward_backward", body, PROTOBUF)[1]))


