"""The training step of engine_bench.cpp on Hugging Face transformers, with fused AdamW.

FOLDER holds what that program wrote: the model and the batch with the numbers of AdamW. Prints one
JSON object: the best step with eager attention and with sdpa, both in fp32 and under bf16 autocast,
the process's peak memory, and what the first step of fp32 and of autocast computed.

Layouts, for batches of unequal lengths: `padded` is one rectangle with a mask, as transformers
collates it; `alone` is one sequence after the other, whose gradients add up; `packed` is one row
whose positions start again with each sequence. Of equal lengths `padded` has neither padding nor
mask.
Usage: engine_baseline.py FOLDER [--threads N] [--steps N] [--layout padded|alone|packed]
"""

import argparse
import json
import pathlib
import resource
import time

import torch
import transformers
from transformers import AutoModelForCausalLM

IGNORED = -100


def read_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--layout", choices=["padded", "alone", "packed"], default="padded")
    return parser.parse_args()


def load_model(folder, attention):
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32,
                                                 attn_implementation=attention).train()
    # Weights of its own: those that map the file may be paged and aligned worse.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def padded(batch):
    rows = [torch.tensor(datum["tokens"]) for datum in batch]
    targets = [torch.tensor(datum["targets"]) for datum in batch]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
    return dict(input_ids=ids, attention_mask=None if mask.all() else mask.long()), \
        torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORED)


def packed(batch):
    def joined(name):
        return torch.tensor([number for datum in batch for number in datum[name]])[None]

    positions = torch.cat([torch.arange(len(datum["tokens"])) for datum in batch])[None]
    return dict(input_ids=joined("tokens"), position_ids=positions), joined("targets")


def passes_of(batch, layout):
    if layout == "alone":
        return [padded([datum]) for datum in batch]
    return [packed(batch) if layout == "packed" else padded(batch)]


class Training:
    """Repeats one step and remembers what each computed."""

    def __init__(self, a, work, attention, autocast=False):
        self.model = load_model(a.folder, attention)
        self.autocast = autocast
        self.passes = passes_of(work["batch"], a.layout)
        adam = work["adam"]
        self.clip_norm = adam["grad_clip_norm"]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=adam["learning_rate"],
            betas=(adam["beta1"], adam["beta2"]), eps=adam["eps"],
            weight_decay=adam["weight_decay"], fused=True)
        self.losses, self.gradient_norms, self.logprobs = [], [], None
        # The first step is not counted: it makes the library reserve its memory.
        self.step()
        self.seconds = min(self.step() for _ in range(a.steps))

    def step(self):
        begin = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        done = [self.forward_backward(*each) for each in self.passes]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        seconds = time.perf_counter() - begin
        losses = torch.cat(done).double()
        self.losses.append(losses.sum().item())
        self.gradient_norms.append(norm.item())
        if self.logprobs is None:
            self.logprobs = (-losses).tolist()
        return seconds

    def forward_backward(self, inputs, targets):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            # A cache would copy keys and values that nobody reads.
            logits = self.model(**inputs, use_cache=False).logits.float()
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        losses.sum().backward()
        return losses.detach()[targets.flatten() != IGNORED]


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    a = read_arguments()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(a.threads)
    # As in the engine: some processors take a hundred times as long for such numbers.
    torch.set_flush_denormal(True)
    work = json.loads((a.folder / "work.json").read_text())
    idle = peak_bytes()
    # First the one that needs less memory, whose peak is what the engine is compared with.
    first = Training(a, work, "sdpa")
    numbers = dict(working_bytes=peak_bytes() - idle, sdpa_seconds=first.seconds,
                   told=dict(losses=first.losses, gradient_norm=first.gradient_norms[0],
                             logprobs=first.logprobs))
    del first
    numbers["eager_seconds"] = Training(a, work, "eager").seconds
    rounded = Training(a, work, "sdpa", autocast=True)
    numbers["autocast_sdpa_seconds"] = rounded.seconds
    numbers["told"]["bf16_logprobs"] = rounded.logprobs
    del rounded
    numbers["autocast_eager_seconds"] = Training(a, work, "eager", autocast=True).seconds
    print(json.dumps(numbers))


main()
