"""The training step of engine_bench.cpp on Hugging Face transformers, with fused AdamW.

Prints one JSON object: the best step with eager attention, with sdpa, with sdpa under bf16
autocast, and the process's peak memory. Sequences of unequal length are padded and masked, as
transformers has it.
Usage: engine_baseline.py --lengths N,N,... [--threads N] [--steps N] [--hidden N] ...
"""

import argparse
import json
import resource
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM


def read_arguments():
    parser = argparse.ArgumentParser()
    for name, default in dict(threads=2, steps=4, hidden=256, layers=4, vocabulary=4096).items():
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--lengths", type=lambda text: [int(n) for n in text.split(",")],
                        required=True)
    return parser.parse_args()


def make_model(a, attention):
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=a.vocabulary, hidden_size=a.hidden,
                         intermediate_size=3 * a.hidden, num_hidden_layers=a.layers,
                         num_attention_heads=a.hidden // 64, num_key_value_heads=a.hidden // 128,
                         head_dim=64, max_position_embeddings=4096, tie_word_embeddings=True)
    config._attn_implementation = attention
    return Qwen3ForCausalLM(config).float().train()


def make_batch(a):
    width = max(a.lengths)
    ids = torch.randint(0, a.vocabulary, (len(a.lengths), width + 1))
    mask = torch.arange(width)[None] < torch.tensor(a.lengths)[:, None]
    targets = torch.where(mask, ids[:, 1:], -100)
    return ids[:, :-1], None if mask.all() else mask.long(), targets


def seconds_per_step(a, attention, autocast=False):
    model = make_model(a, attention)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids, mask, targets = make_batch(a)
    seconds = []
    for _ in range(a.steps):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(input_ids=ids, attention_mask=mask).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, a.vocabulary), targets.reshape(-1), reduction="sum")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    a = read_arguments()
    torch.set_num_threads(a.threads)
    idle = peak_bytes()
    # First the one that needs less memory, whose peak is what the engine is compared with.
    numbers = dict(sdpa_seconds=seconds_per_step(a, "sdpa"))
    numbers["working_bytes"] = peak_bytes() - idle
    numbers["eager_seconds"] = seconds_per_step(a, "eager")
    numbers["autocast_seconds"] = seconds_per_step(a, "sdpa", autocast=True)
    print(json.dumps(numbers))


main()
