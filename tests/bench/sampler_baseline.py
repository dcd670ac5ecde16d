"""Decoding of sampler_bench.cpp's workloads with Hugging Face transformers `generate`.

FOLDER holds what that program wrote: the model, its adapters as PEFT folders, and the questions.
fp32, greedy so that sampling itself costs nothing. Questions with adapters are one batch of peft's
mixed adapters. Prints one JSON object: by workload, tokens per second and the tokens.
Usage: sampler_baseline.py FOLDER [--threads N]
"""

import argparse
import json
import pathlib
import time

import peft
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

ROUNDS = 2


def generate(model, questions):
    """As long as the longest answer wants; the others are decoded along and cut."""
    ids = torch.tensor([question["prompt"] for question in questions])
    # No token ends an answer: both sides decode equally many.
    settings = GenerationConfig(max_new_tokens=max(q["max_tokens"] for q in questions),
                                do_sample=False, use_cache=True, pad_token_id=0,
                                eos_token_id=None)
    adapters = [f"adapter{q['adapter']}" for q in questions if q["adapter"] >= 0]
    more = dict(adapter_names=adapters) if adapters else {}
    out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids),
                         generation_config=settings, **more)
    rows = out[:, ids.shape[1]:].tolist()
    return [row[:question["max_tokens"]] for row, question in zip(rows, questions)]


def measure(model, work):
    """Static batches in order of arrival: each decodes as long as its longest member."""
    questions, size = work["questions"], work["batch"]
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        tokens = []
        for first in range(0, len(questions), size):
            tokens += generate(model, questions[first:first + size])
        best = min(best, time.perf_counter() - begin)
    return dict(tokens_per_second=sum(map(len, tokens)) / best, tokens=tokens)


def with_adapters(model, folder):
    paths = sorted(folder.glob("adapter*"))
    model = peft.PeftModel.from_pretrained(model, paths[0], adapter_name=paths[0].name)
    for path in paths[1:]:
        model.load_adapter(path, adapter_name=path.name)
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    model = AutoModelForCausalLM.from_pretrained(a.folder / "model", dtype=torch.float32,
                                                 attn_implementation="sdpa").eval()
    workloads = json.loads((a.folder / "work.json").read_text())
    answers = {}
    with torch.inference_mode():
        for name, work in workloads.items():
            # Last: a model that was wrapped for adapters is slower without them, too.
            if any(question["adapter"] >= 0 for question in work["questions"]):
                model = with_adapters(model, a.folder)
            answers[name] = measure(model, work)
    print(json.dumps(answers))


main()
