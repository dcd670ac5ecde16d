"""What the gateway costs and holds, with the tinker SDK and raw HTTP on a cluster that this
program starts: latency beside the same call inside the cluster, a LoRA step beside a transformers
loop, tenants beside each other, many samples and models at once, large bodies, and idle polls.
Times are only worth comparing within one run; `of_goal` is the part of a goal that was used.

Usage: gateway_bench.py FOLDER_OF_PROGRAMS [--json] [--only NAME,...] [--models N]
"""

import argparse
import concurrent.futures
import contextlib
import json
import logging
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "conformance" / "tinker"))

import tinker  # noqa: E402
import torch  # noqa: E402
from tinker import types  # noqa: E402
from tinker.proto import tinker_public_pb2 as pb  # noqa: E402
from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: E402

from live_cluster import LiveCluster  # noqa: E402
from raw_client import PROTOBUF, Client, pass_body  # noqa: E402

VOCABULARY = 4096
TRAINERS = 2


def make_model(folder):
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def datum(length, seed=0, vocabulary=VOCABULARY):
    tokens = torch.randint(0, vocabulary, (length + 1,),
                           generator=torch.Generator().manual_seed(seed)).tolist()
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * length},
    )


def milliseconds(call, count):
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return times


def quantiles(times):
    times = sorted(times)
    return {"p50": statistics.median(times), "p95": times[int(0.95 * (len(times) - 1))],
            "max": times[-1]}


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-bench-"))
        self.large = make_model(self.folder / "large")
        sections = f'"large" = "{self.large}"\n[samplers]\ncount = 2\n'
        # One run computes at a time mostly, and may use what a transformers loop would.
        trainers = (f"count = {TRAINERS}\nthreads = {os.cpu_count()}\n"
                    f"slots = {-(-arguments.models // TRAINERS)}")
        self.cluster = LiveCluster(arguments.programs, sections, trainers)
        os.environ["TINKER_BASE_URL"] = self.cluster.url
        os.environ["TINKER_API_KEY"] = self.cluster.key
        self.service = tinker.ServiceClient()

    def close(self):
        self.cluster.close()

    @contextlib.contextmanager
    def training(self, model):
        with tinker.ServiceClient() as service:
            yield service.create_lora_training_client(base_model=model, rank=8).result()

    def raw_pass(self, client, session, rank=0):
        """A call that does a tiny forward_backward over HTTP, and where it notes the milliseconds
        to each acknowledgement."""
        model = client.result(client.model(session, rank=rank))["model_id"]
        turn = iter(range(1, 10_000))
        acknowledged = []

        def post_once():
            body = pass_body(model, next(turn), [1] * 16, [1] * 16, [1.0] * 16)
            begin = time.perf_counter()
            ack = client.post("forward_backward", body.SerializeToString(), PROTOBUF)[1]
            acknowledged.append(1000 * (time.perf_counter() - begin))
            client.result(ack)

        return post_once, acknowledged

    def latency(self):
        """A tiny forward_backward: as the SDK sees it, over raw HTTP, and inside the cluster."""
        with self.training("tiny") as training:
            batch = [datum(16, vocabulary=256)]

            def pass_once():
                training.forward_backward(batch, "cross_entropy").result()

            milliseconds(pass_once, 10)
            begin = time.process_time()
            sdk = milliseconds(pass_once, 100)
            processor = 10 * (time.process_time() - begin)
        client = Client(self.cluster)
        session = client.session()
        post_once, acknowledged = self.raw_pass(client, session)
        milliseconds(post_once, 10)
        acknowledged.clear()
        raw = milliseconds(post_once, 100)
        flushes = self.flushes(100)
        client.finish(session)
        inside = json.loads(subprocess.run(
            [pathlib.Path(self.arguments.programs) / "cluster_call", self.cluster.data,
             self.cluster.model, "100"],
            check=True, capture_output=True, text=True).stdout)["p50_ms"]
        overhead = statistics.median(raw) - inside
        flush = statistics.median(flushes)
        return {"sdk_ms": quantiles(sdk), "sdk_processor_ms": processor,
                "http_ms": quantiles(raw), "acknowledged_ms": quantiles(acknowledged),
                "flush_ms": quantiles(flushes), "inside_p50_ms": inside,
                "http_overhead_p50_ms": overhead,
                "http_overhead_without_flush_p50_ms": overhead - flush,
                "of_goal": {"sdk_8_ms": statistics.median(sdk) / 8,
                            "overhead_2_ms_without_flush": (overhead - flush) / 2}}

    def flushes(self, count):
        """What the disk takes for a small file and its folder, beside the gateway's own log."""
        folder = pathlib.Path(self.cluster.data) / "flush"
        folder.mkdir()
        times = []
        for number in range(count):
            file = os.open(folder / str(number), os.O_CREAT | os.O_WRONLY)
            os.write(file, b"x" * 1000)
            begin = time.perf_counter()
            os.fdatasync(file)
            place = os.open(folder, os.O_RDONLY)
            os.fsync(place)
            times.append(1000 * (time.perf_counter() - begin))
            os.close(place)
            os.close(file)
        return times

    @contextlib.contextmanager
    def flood(self):
        """Another tenant in a process of its own: a call that tells it what to do."""
        key = self.cluster.create_key("greedy")["key"]
        process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("gateway_flood.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TINKER_API_KEY": key})

        def order(line):
            print(line, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        yield order
        process.stdin.close()
        process.wait(60)

    def tenants(self):
        """A tiny pass of one key, alone and beside fourteen runs of another with large batches on
        the same trainers; and a short sample beside a flood of long ones."""
        batch = [datum(16, vocabulary=256)]
        params = types.SamplingParams(max_tokens=4, stop=[])
        prompt = types.ModelInput.from_ints([1, 2, 3])
        client = Client(self.cluster)
        session = client.session()
        post_once, acknowledged = self.raw_pass(client, session, rank=8)
        with self.training("tiny") as modest, self.flood() as order:
            sampling = self.service.create_sampling_client(base_model="tiny").result()

            def pass_once():
                modest.forward_backward(batch, "cross_entropy").result()

            def draw_once():
                sampling.sample(prompt, 1, params).result()

            def measure():
                acknowledged.clear()
                return {"sdk_ms": quantiles(milliseconds(pass_once, 50)),
                        "http_ms": quantiles(milliseconds(post_once, 50)),
                        "acknowledged_ms": quantiles(acknowledged)}

            milliseconds(pass_once, 5), milliseconds(post_once, 5), milliseconds(draw_once, 5)
            alone, drawn_alone = measure(), quantiles(milliseconds(draw_once, 20))
            order("passes 14")
            # What the other began while it was alone goes on beside the first of these.
            entering = quantiles(milliseconds(post_once, 100))
            beside = measure()
            passes = int(order("stop"))
            order("samples 1500")
            drawn_beside = quantiles(milliseconds(draw_once, 20))
            flood_ms = 1000 * float(order("wait"))
        client.finish(session)
        ratio = {name: beside[name]["p50"] / alone[name]["p50"] for name in alone}
        return {"pass_alone": alone, "pass_beside": beside, "pass_ratio_p50": ratio,
                "first_passes_http_ms": entering, "passes_of_the_other": passes,
                "sample_alone_ms": drawn_alone,
                "sample_beside_ms": drawn_beside, "flood_ms": flood_ms,
                "of_goal": {"pass_ratio_2.5": ratio["http_ms"] / 2.5,
                            "sample_half_of_the_flood": drawn_beside["p50"] / (flood_ms / 2)}}

    def lora_step(self):
        """Rank 8, 8x256 tokens, through the SDK; beside a bare full-parameter loop."""
        model = Qwen3ForCausalLM.from_pretrained(self.large, dtype=torch.float32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        ids = torch.randint(0, VOCABULARY, (8, 257))

        def torch_step():
            optimizer.zero_grad(set_to_none=True)
            logits = model(input_ids=ids[:, :-1]).logits
            torch.nn.functional.cross_entropy(
                logits.reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1), reduction="sum"
            ).backward()
            optimizer.step()

        batch = [datum(256, seed) for seed in range(8)]
        ours, theirs = [], []
        with self.training("large") as training:

            def sdk_step():
                passed = training.forward_backward(batch, "cross_entropy")
                training.optim_step(types.AdamParams(learning_rate=1e-4)).result()
                passed.result()

            for _ in range(self.arguments.rounds):
                theirs += milliseconds(torch_step, 1)
                ours += milliseconds(sdk_step, 1)
        return {"sdk_ms": min(ours), "transformers_ms": min(theirs),
                "ratio": min(theirs) / min(ours), "of_goal": min(ours) / min(theirs)}

    def samples(self):
        """64 requests of 64 tokens each at once."""
        client = self.service.create_sampling_client(base_model="large").result()
        params = types.SamplingParams(max_tokens=64, stop=[])
        prompt = types.ModelInput.from_ints(list(range(16)))
        client.sample(prompt, 1, params).result()

        def draw():
            futures = [client.sample(prompt, 1, params) for _ in range(64)]
            return sum(len(f.result().sequences[0].tokens) for f in futures)

        times = milliseconds(draw, 3)
        return {"seconds": min(times) / 1000, "tokens_per_s": 64 * 64 / (min(times) / 1000),
                "of_goal": {"2_s": min(times) / 2000}}

    def crowd(self):
        """512 samples at once beside many live models; heartbeats meanwhile."""
        beats, errors, stop = [], [], threading.Event()

        def beat():
            client = Client(self.cluster)
            session = client.session()
            while not stop.wait(0.02):
                begin = time.perf_counter()
                status, _ = client.post("session_heartbeat", {"session_id": session})
                beats.append(1000 * (time.perf_counter() - begin))
                if status != 200:
                    errors.append(status)
            client.finish(session)

        sampling = self.service.create_sampling_client(base_model="tiny").result()
        params = types.SamplingParams(max_tokens=32, stop=[])
        prompt = types.ModelInput.from_ints([1, 2, 3])
        watcher = threading.Thread(target=beat)
        with contextlib.ExitStack() as open_models:
            models = [open_models.enter_context(self.training("tiny"))
                      for _ in range(self.arguments.models)]
            rows = [datum(3, vocabulary=256)]
            watcher.start()
            begin = time.perf_counter()
            futures = [sampling.sample(prompt, 1, params) for _ in range(512)]
            for _ in range(4):
                futures += [m.forward_backward(rows, "cross_entropy") for m in models]
                futures += [m.optim_step(types.AdamParams()) for m in models]
            for future in futures:
                try:
                    future.result()
                except Exception as problem:  # noqa: BLE001: counted, whatever it is
                    errors.append(str(problem))
            seconds = time.perf_counter() - begin
            stop.set()
            watcher.join()
        return {"samples": 512, "models": self.arguments.models, "errors": len(errors),
                "first_error": str(errors[:1]), "seconds": seconds,
                "heartbeat_ms": quantiles(beats),
                "of_goal": {"errors_0": len(errors), "heartbeat_p95_50_ms":
                            quantiles(beats)["p95"] / 50}}

    def bodies(self):
        """Large batches at once: 64 of 500 KB, then 208 of 3.3 MB. The last datum of each is longer
        than the model takes, so that bodies are received, logged and decoded but not trained on."""
        out = {}
        client = Client(self.cluster)
        session = client.session()
        model = client.result(client.model(session))["model_id"]
        turn = iter(range(1, 10_000))
        for count, size in ((64, 500_000), (208, 3_300_000)):
            length = size // 16
            body = pb.ForwardBackwardRequest(model_id=model, loss_fn="cross_entropy")
            row = body.data.add()
            row.model_input.add().encoded_text.tokens = struct.pack(f"<{length}i", *[1] * length)
            for name, code, kind in (("target_tokens", "q", pb.DTYPE_INT64),
                                     ("weights", "f", pb.DTYPE_FLOAT32)):
                tensor = row.loss_fn_inputs[name]
                tensor.dense = struct.pack(f"<{length}{code}", *[1] * length)
                tensor.dtype = kind
                tensor.shape.append(length)
            bodies = []
            for _ in range(count):
                body.seq_id = next(turn)
                bodies.append(body.SerializeToString())

            def send(content):
                own = Client(self.cluster)
                begin = time.perf_counter()
                status, ack = own.post("forward_backward", content, PROTOBUF)
                took = time.perf_counter() - begin
                answer = own.result(ack) if status == 200 else None
                return status, 1000 * took, answer

            begin = time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(64) as pool:
                answers = list(pool.map(send, bodies))
            out[f"{count}x{size}"] = {
                "accepted": sum(status == 200 for status, _, _ in answers),
                "answered": sum(answer is not None for _, _, answer in answers),
                "seconds": time.perf_counter() - begin,
                "acknowledged_ms": quantiles([took for _, took, _ in answers]),
                "of_goal": {"not_answered_0": sum(answer is None for _, _, answer in answers)},
            }
        client.finish(session)
        return out

    def polls(self):
        """2,000 polls that wait for one result."""
        (process,) = self.cluster.process_ids("troupe-gateway")

        def resident_mib():
            status = pathlib.Path(f"/proc/{process}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0]) / 1024

        with self.training("large") as training:
            busy = [training.forward_backward([datum(1024, n) for n in range(8)], "cross_entropy")
                    for n in range(6)]
            client = Client(self.cluster)
            model = training.model_id
            step = {"model_id": model, "seq_id": 1000, "adam_params": {}}
            request = client.post("optim_step", step)[1]["request_id"]
            content = json.dumps({"request_id": request}).encode()
            place = urllib.parse.urlparse(self.cluster.url)
            head = (f"POST /api/v1/retrieve_future HTTP/1.1\r\nhost: x\r\nx-api-key: {client.key}"
                    f"\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n")
            before = resident_mib()
            sockets = []
            for _ in range(2000):
                one = socket.create_connection((place.hostname, place.port))
                one.sendall(head.encode() + content)
                sockets.append(one)
            while client.num_open("polls") < 2000:
                pass
            after = resident_mib()
            answered = sum(b"200 OK" in one.recv(4096) for one in sockets)
            for one in sockets:
                one.close()
            for future in busy:
                future.result()
        return {"polls": 2000, "mib": after - before, "whole_process_mib": after,
                "answered_with_the_result": answered,
                "of_goal": {"200_mib": (after - before) / 200}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="latency,lora_step,samples,tenants,crowd,bodies,polls")
    parser.add_argument("--models", type=int, default=64, help="live models")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    bench = Bench(arguments)
    out = {}
    try:
        for name in arguments.only.split(","):
            out[name] = getattr(bench, name)()
            if not arguments.json:
                print(name, json.dumps(out[name], indent=2), flush=True)
    finally:
        bench.close()
    if arguments.json:
        print(json.dumps(out))


if __name__ == "__main__":
    main()
