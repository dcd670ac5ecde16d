"""The training step of engine_bench.cpp on Hugging Face transformers: sdpa attention, fused AdamW.

Prints one JSON line. Usage: engine_baseline.py [--threads N] [--steps N] [--hidden N] ...
"""

import argparse
import json
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM


def read_arguments():
    parser = argparse.ArgumentParser()
    for name, default in dict(threads=2, steps=8, hidden=256, layers=4, vocabulary=4096,
                              sequences=8, tokens=256).items():
        parser.add_argument("--" + name, type=int, default=default)
    return parser.parse_args()


def make_model(a):
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=a.vocabulary, hidden_size=a.hidden,
                         intermediate_size=3 * a.hidden, num_hidden_layers=a.layers,
                         num_attention_heads=a.hidden // 64, num_key_value_heads=a.hidden // 128,
                         head_dim=64, max_position_embeddings=4096, tie_word_embeddings=True)
    config._attn_implementation = "sdpa"
    return Qwen3ForCausalLM(config).float().train()


def main():
    a = read_arguments()
    torch.set_num_threads(a.threads)
    model = make_model(a)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(0, a.vocabulary, (a.sequences, a.tokens + 1))
    seconds = []
    for _ in range(a.steps):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, a.vocabulary), ids[:, 1:].reshape(-1), reduction="sum")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    best = min(seconds)
    print(json.dumps(dict(name="transformers", seconds_per_step=best,
                          tokens_per_second=a.sequences * a.tokens / best)))


main()
