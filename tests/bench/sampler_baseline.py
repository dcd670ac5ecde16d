"""Decoding of sampler_bench.cpp's workloads with Hugging Face transformers `generate`.

Same shapes, weights of the same kind, fp32, greedy so that sampling itself costs nothing. Prints
one JSON object: tokens per second by workload.
Usage: sampler_baseline.py [--threads N] [--hidden N] [--layers N] [--vocabulary N] ...
"""

import argparse
import json
import random
import time

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM


def read_arguments():
    parser = argparse.ArgumentParser()
    for name, default in dict(threads=2, hidden=512, layers=8, vocabulary=8192, prompt=128,
                              tokens=64).items():
        parser.add_argument("--" + name, type=int, default=default)
    return parser.parse_args()


def make_model(a):
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=a.vocabulary, hidden_size=a.hidden,
                         intermediate_size=3 * a.hidden, num_hidden_layers=a.layers,
                         num_attention_heads=max(1, a.hidden // 64),
                         num_key_value_heads=max(1, a.hidden // 128), head_dim=64,
                         max_position_embeddings=4096, tie_word_embeddings=True)
    config._attn_implementation = "sdpa"
    return Qwen3ForCausalLM(config).float().eval()


def seconds_of(model, ids, mask, new_tokens):
    settings = GenerationConfig(max_new_tokens=new_tokens, min_new_tokens=new_tokens,
                                do_sample=False, use_cache=True, pad_token_id=0, eos_token_id=1)
    begin = time.perf_counter()
    model.generate(ids, attention_mask=mask, generation_config=settings)
    return time.perf_counter() - begin


def batch_rate(model, a, sequences, prompts):
    unique = torch.randint(2, a.vocabulary, (prompts, a.prompt))
    ids = unique.repeat_interleave(sequences // prompts, dim=0)
    mask = torch.ones_like(ids)
    best = min(seconds_of(model, ids, mask, a.tokens) for _ in range(2))
    return sequences * a.tokens / best


def mixed_rate(model, a, sequences, batch_size):
    """Static batches in order of arrival: each decodes as long as its longest member."""
    draw = random.Random(3)
    lengths = [draw.randint(16, 512) for _ in range(sequences)]
    seconds = 0
    for first in range(0, sequences, batch_size):
        part = lengths[first:first + batch_size]
        ids = torch.randint(2, a.vocabulary, (len(part), 32))
        seconds += seconds_of(model, ids, torch.ones_like(ids), max(part))
    return sum(lengths) / seconds


def main():
    a = read_arguments()
    torch.set_num_threads(a.threads)
    model = make_model(a)
    with torch.inference_mode():
        rates = dict(batch_1=batch_rate(model, a, 1, 1), batch_8=batch_rate(model, a, 8, 8),
                     batch_64=batch_rate(model, a, 64, 8), mixed=mixed_rate(model, a, 32, 8))
    print(json.dumps(rates))


main()
