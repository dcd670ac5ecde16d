"""The greedy tenant of gateway_bench: a process of its own, because a Python program that floods
delays its own small requests more than any server does. It does what its input says, line by line,
and answers each with one line:

  passes N   N models train on large batches without end   -> when each has done one
  stop       -> how many passes there were
  samples N  N long samples at once                        -> when all are under way
  wait       -> the seconds from the first sample to the last answer

Usage: gateway_flood.py, with TINKER_BASE_URL and TINKER_API_KEY
"""

import logging
import sys
import threading
import time

import tinker
from tinker import types

from gateway_bench import datum

BATCH = [datum(256, n, vocabulary=256) for n in range(16)]
PROMPT = types.ModelInput.from_ints([1, 2, 3])
LONG = types.SamplingParams(max_tokens=128, stop=[])


class Flood:
    def __init__(self):
        self.service = tinker.ServiceClient()
        self.stopping = threading.Event()
        self.num_passes = 0
        self.workers, self.samples = [], []
        self.begin = 0.0

    def train(self, run):
        while not self.stopping.is_set():
            run.forward_backward(BATCH, "cross_entropy").result()
            self.num_passes += 1

    def passes(self, count):
        runs = [self.service.create_lora_training_client(base_model="tiny", rank=8).result()
                for _ in range(int(count))]
        for run in runs:
            run.forward_backward(BATCH, "cross_entropy").result()
        self.workers = [threading.Thread(target=self.train, args=(run,)) for run in runs]
        for worker in self.workers:
            worker.start()
        return "ready"

    def stop(self):
        self.stopping.set()
        for worker in self.workers:
            worker.join()
        return self.num_passes

    def samples_of(self, count):
        client = self.service.create_sampling_client(base_model="tiny").result()
        client.sample(PROMPT, 1, LONG).result()
        self.begin = time.perf_counter()
        self.samples = [client.sample(PROMPT, 1, LONG) for _ in range(int(count))]
        return "ready"

    def wait(self):
        for sample in self.samples:
            sample.result()
        return time.perf_counter() - self.begin


def main():
    logging.disable(logging.CRITICAL)
    flood = Flood()
    orders = {"passes": flood.passes, "stop": flood.stop, "samples": flood.samples_of,
              "wait": flood.wait}
    for line in sys.stdin:
        name, *words = line.split()
        print(orders[name](*words), flush=True)
    flood.service.close("success").result()


if __name__ == "__main__":
    main()
