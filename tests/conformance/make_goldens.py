"""Golden numbers of Hugging Face transformers for tiny random models of every family.

Writes one folder per case: `model/` (a Hugging Face directory) and flat little-endian files, whose
readers are in golden_case.cpp:
  batches.i32     per batch: sequences, then per sequence: length, tokens, targets
  weights.f32     one per target, in the same order
  logprobs.f32    of the targets of batch 0
  gradients.f32   of sum(-weight * logprob) over batch 0, parameters in layout order
  hidden.f32      final hidden states of batch 0, row after row
  entropies.f32   of each row of batch 0
  topk.f32        the TOPK largest logprobs of each row of batch 0, then topk.i32: their tokens
  routers.f32     of experts on batch 0: load_balancing_loss_func, the busiest one's share of picks
  trained.f32     parameters after STEPS of AdamW, batches taken in turn
  norms.f32       norm of the gradients of each of these steps, before clipping
  greedy.i32      prompts, then per prompt: length, tokens, generated length, generated tokens
Cases of LORA hold adapters instead: `peft/` is what PEFT saves before training, gradients and
trained parameters are those of the adapters, A and B of each target in layout order. PEFT trains no
single matrix of an expert, so that on experts the adapters are added to the weights by hand.
"""

import copy
import hashlib
import pathlib
import shutil
import sys

import numpy as np
import peft
import safetensors.torch
import torch
import transformers
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
}
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                   high_freq_factor=4.0, original_max_position_embeddings=64)

CASES = {
    "tied": dict(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                 tie_word_embeddings=True),
    "untied": dict(vocab_size=256, hidden_size=64, intermediate_size=160, num_hidden_layers=3,
                   num_attention_heads=4, num_key_value_heads=4, head_dim=16,
                   tie_word_embeddings=False),
    "odd": dict(vocab_size=131, hidden_size=44, intermediate_size=70, num_hidden_layers=2,
                num_attention_heads=6, num_key_value_heads=2, head_dim=10,
                tie_word_embeddings=True),
    "wide_heads": dict(vocab_size=61, hidden_size=24, intermediate_size=33, num_hidden_layers=1,
                       num_attention_heads=3, num_key_value_heads=1, head_dim=48,
                       tie_word_embeddings=False),
    # Wider than one panel of the matrix product in every direction.
    "wide": dict(vocab_size=300, hidden_size=272, intermediate_size=530, num_hidden_layers=1,
                 num_attention_heads=5, num_key_value_heads=1, head_dim=64,
                 tie_word_embeddings=True),
    # At 64 original positions, waves of all three kinds occur.
    "llama": dict(family="llama", vocab_size=96, hidden_size=48, intermediate_size=80,
                  num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=24,
                  rope_parameters=LLAMA3_ROPE, tie_word_embeddings=True),
    "llama_plain": dict(family="llama", vocab_size=131, hidden_size=40, intermediate_size=52,
                        num_hidden_layers=2, num_attention_heads=5, num_key_value_heads=5,
                        tie_word_embeddings=False),
    "qwen2": dict(family="qwen2", vocab_size=111, hidden_size=36, intermediate_size=64,
                  num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
                  tie_word_embeddings=True),
    "qwen2_untied": dict(family="qwen2", vocab_size=90, hidden_size=64, intermediate_size=72,
                         num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                         tie_word_embeddings=False),
}
CASES["experts"] = dict(family="qwen3_moe", vocab_size=97, hidden_size=36, intermediate_size=50,
                        moe_intermediate_size=20, num_experts=7, num_experts_per_tok=3,
                        norm_topk_prob=True, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2, head_dim=10, tie_word_embeddings=False)
# Many experts, some of which no token picks; weights as the softmax gives them.
CASES["experts_plain"] = dict(family="qwen3_moe", vocab_size=70, hidden_size=32,
                              intermediate_size=50, moe_intermediate_size=33, num_experts=40,
                              num_experts_per_tok=1, norm_topk_prob=False, num_hidden_layers=2,
                              num_attention_heads=2, num_key_value_heads=1, head_dim=16,
                              tie_word_embeddings=True)
# Weights rounded to bf16 and saved in several files.
for name, base in (("shards_tied", "tied"), ("shards_llama", "llama"),
                   ("shards_qwen2", "qwen2_untied"), ("shards_experts", "experts")):
    CASES[name] = dict(CASES[base], max_shard_size="20KB")
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
# On the model of another case.
LORA = {
    "lora_all": ("untied", dict(r=5, lora_alpha=16, target_modules=ATTENTION + MLP + ["lm_head"])),
    "lora_attention": ("llama", dict(r=8, lora_alpha=8, target_modules=ATTENTION)),
    "lora_mlp": ("qwen2", dict(r=3, lora_alpha=32, target_modules=MLP)),
    "lora_chosen": ("untied", dict(r=6, lora_alpha=9,
                                   target_modules=["v_proj", "o_proj", "up_proj", "lm_head"])),
    "lora_head": ("qwen2_untied", dict(r=6, lora_alpha=6, target_modules=["lm_head"])),
    "lora_experts": ("experts", dict(r=4, lora_alpha=6,
                                     target_modules=ATTENTION + MLP + ["lm_head"])),
}
LENGTHS = [[1, 17, 5, 64, 33, 2], [50, 7, 129, 12, 150]]
STEPS = 20
TOPK = 5
ADAM = dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
CLIP_NORM = 2.0
PROMPT_LENGTHS = [1, 3, 19, 40]
GENERATED = 24


def make_model(numbers, seed):
    torch.manual_seed(seed)
    numbers = dict(dict(family="qwen3", rope_parameters=dict(rope_type="default",
                                                             rope_theta=10000.0)), **numbers)
    make_config, make = FAMILIES[numbers.pop("family")]
    config = make_config(max_position_embeddings=512, **numbers)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = make(config).float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.normal_(1.0, 0.2)
            elif name.endswith(".bias"):
                p.normal_(0.0, 0.5)
            elif "embed" in name:
                p.normal_(0.0, 0.5 if numbers["tie_word_embeddings"] else 1.0)
            else:
                p.normal_(0.0, 1.5 / p.shape[-1] ** 0.5)
    return model


def in_layout_order(model):
    """Parameters as the engine orders them: biases of q, k and v behind the three matrices, experts
    at the end of their block."""
    named = list(model.named_parameters())
    place = {name: i for i, (name, _) in enumerate(named)}

    def key(item):
        name = item[0]
        if name.endswith("_proj.bias"):
            return place[name[:name.rindex(".self_attn")] + ".self_attn.v_proj.weight"], place[name]
        if ".experts." in name:
            norm = name[:name.rindex(".mlp")] + ".post_attention_layernorm.weight"
            return place[norm], place[name]
        return place[name], 0

    return [p for _, p in sorted(named, key=key)]


def make_batches(vocabulary, generator):
    batches = []
    for lengths in LENGTHS:
        batch = []
        for length in lengths:
            text = generator.integers(0, vocabulary, length + 1)
            weights = generator.normal(0.5, 1.0, length).astype(np.float32)
            weights[generator.random(length) < 0.3] = 0
            batch.append((text[:-1], text[1:], weights))
        batches.append(batch)
    return batches


def logprobs_of(model, tokens, targets):
    logits = model(input_ids=torch.tensor(tokens)[None]).logits[0]
    picked = torch.log_softmax(logits.float(), dim=-1)
    return picked.gather(1, torch.tensor(targets)[:, None])[:, 0]


def batch_loss(model, batch):
    return sum(-(torch.tensor(w) * logprobs_of(model, x, y)).sum() for x, y, w in batch)


def by_expert(tensors):
    """Joined matrices of experts as gate, up and down of one expert after the other."""
    tensors = list(tensors)
    while tensors:
        first = tensors.pop(0)
        if first.dim() != 3:
            yield first
            continue
        for gate_up, down in zip(first, tensors.pop(0)):
            yield gate_up
            yield down


def flat(tensors):
    tensors = by_expert(tensors)
    return np.concatenate([t.detach().numpy().reshape(-1) for t in tensors]).astype("<f4")


def greedy(model, generator):
    rounded = type(model)(model.config).float().eval()
    rounded.load_state_dict(model.state_dict())
    with torch.no_grad():
        for p in rounded.parameters():
            p.copy_(p.bfloat16().float())
    out = [len(PROMPT_LENGTHS)]
    for length in PROMPT_LENGTHS:
        prompt = generator.integers(0, model.config.vocab_size, length)
        ids = torch.tensor(prompt)[None]
        # Without a mask, generate() hides every prompt token that equals pad_token_id.
        text = rounded.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                pad_token_id=0, eos_token_id=None,
                                max_new_tokens=GENERATED)[0, length:]
        out += [length, *prompt, len(text), *text.tolist()]
    return np.array(out, dtype="<i4")


def write_inputs(folder, model, seed):
    """The batches, and the prompts with what the model makes of them."""
    generator = np.random.default_rng(seed)
    batches = make_batches(model.config.vocab_size, generator)
    integers, weights = [len(batches)], []
    for batch in batches:
        integers.append(len(batch))
        for tokens, targets, w in batch:
            integers += [len(tokens), *tokens, *targets]
            weights.append(w)
    np.array(integers, dtype="<i4").tofile(folder / "batches.i32")
    np.concatenate(weights).astype("<f4").tofile(folder / "weights.f32")
    greedy(model, generator).tofile(folder / "greedy.i32")
    return batches


def write_training(folder, model, batches, parameters):
    logprobs = [logprobs_of(model, x, y) for x, y, _ in batches[0]]
    flat(logprobs).tofile(folder / "logprobs.f32")
    batch_loss(model, batches[0]).backward()
    flat([p.grad for p in parameters]).tofile(folder / "gradients.f32")

    norms = []
    optimizer = torch.optim.AdamW(parameters, **ADAM)
    for step in range(STEPS):
        optimizer.zero_grad()
        batch_loss(model, batches[step % len(batches)]).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM).item())
        optimizer.step()
    np.array(norms, dtype="<f4").tofile(folder / "norms.f32")
    flat(parameters).tofile(folder / "trained.f32")


def write_details(folder, model, batch):
    rows = [[], [], [], []]
    with torch.no_grad():
        for tokens, _, _ in batch:
            hidden = model.model(input_ids=torch.tensor(tokens)[None]).last_hidden_state[0]
            logits = model.lm_head(hidden).float()
            best = torch.log_softmax(logits, dim=-1).topk(TOPK)
            entropy = torch.distributions.Categorical(logits=logits.double()).entropy()
            for row, part in zip(rows, (hidden, entropy, best.values, best.indices)):
                row.append(part)
    for name, row in zip(("hidden.f32", "entropies.f32", "topk.f32", "topk.i32"), rows):
        numbers = torch.cat(row).numpy().reshape(-1)
        numbers.astype("<" + name[-3:].replace("32", "4")).tofile(folder / name)


def save_in_shards(model, folder, max_shard_size):
    """In bf16; rounds the weights of `model`, and not the frequencies it holds beside them."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16().float())
    copy.deepcopy(model).bfloat16().save_pretrained(folder, max_shard_size=max_shard_size)
    assert len(list(folder.glob("model-*.safetensors"))) > 1, f"{folder} is one file"


def write_routers(folder, model, batch):
    config = model.config
    with torch.no_grad():
        passes = [model(input_ids=torch.tensor(tokens)[None], output_router_logits=True)
                  for tokens, _, _ in batch]
    logits = tuple(torch.cat(layer) for layer in zip(*(each.router_logits for each in passes)))
    loss = load_balancing_loss_func(logits, config.num_experts, config.num_experts_per_tok)
    picks = torch.cat(logits).topk(config.num_experts_per_tok).indices.flatten()
    share = picks.bincount().max() / len(picks)
    np.array([loss, share], dtype="<f4").tofile(folder / "routers.f32")


def write_case(folder, numbers, seed):
    numbers = dict(numbers)
    max_shard_size = numbers.pop("max_shard_size", None)
    model = make_model(numbers, seed)
    if max_shard_size is None:
        model.save_pretrained(folder / "model")
    else:
        save_in_shards(model, folder / "model", max_shard_size)
    batches = write_inputs(folder, model, seed)
    write_details(folder, model, batches[0])
    if numbers.get("family") == "qwen3_moe":
        write_routers(folder, model, batches[0])
    write_training(folder, model, batches, in_layout_order(model))


def write_lora_case(folder, numbers, options, seed):
    model = make_model(numbers, seed)
    model.save_pretrained(folder / "model")
    batches = write_inputs(folder, model, seed)
    adapted = peft.get_peft_model(model, peft.LoraConfig(lora_dropout=0.0, **options))
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.normal_(0.0, 0.2)
    adapted.save_pretrained(folder / "peft")
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    write_training(folder, adapted, batches, parameters)
    # What merging makes of the trained adapters.
    merged = adapted.merge_and_unload()
    flat(in_layout_order(merged)).tofile(folder / "merged.f32")


class ExpertAdapters:
    """Adapters of every projection and the head of a model with experts, in layout order, under the
    names that PEFT has for experts that are modules."""

    def __init__(self, model, options):
        self.model = model.requires_grad_(False)
        self.scale = options["lora_alpha"] / options["r"]
        self.pairs = {}
        shapes = {name: p.shape for name, p in model.named_parameters()}
        for layer in range(model.config.num_hidden_layers):
            block = f"model.layers.{layer}."
            for name in (f"{block}self_attn.{each}" for each in ATTENTION):
                self.add(name, options, *shapes[f"{name}.weight"])
            count, double, inputs = shapes[f"{block}mlp.experts.gate_up_proj"]
            for expert in range(count):
                for name in ("gate_proj", "up_proj"):
                    self.add(f"{block}mlp.experts.{expert}.{name}", options, double // 2, inputs)
                self.add(f"{block}mlp.experts.{expert}.down_proj", options, inputs, double // 2)
        self.add("lm_head", options, *shapes["lm_head.weight"])

    def add(self, name, options, outputs, inputs):
        a = torch.empty(options["r"], inputs).uniform_(-1, 1) / inputs ** 0.5
        b = torch.empty(outputs, options["r"]).normal_(0.0, 0.2)
        self.pairs[name] = (a.requires_grad_(), b.requires_grad_())

    def parameters(self):
        return [p for pair in self.pairs.values() for p in pair]

    def change(self, name):
        a, b = self.pairs[name]
        return self.scale * b @ a

    def merged(self):
        weights = {}
        for name, p in self.model.named_parameters():
            module = name.removesuffix(".weight")
            prefix, _, last = name.rpartition(".")
            parts = {"gate_up_proj": ("gate_proj", "up_proj")}.get(last, (last,))
            if p.dim() == 3:
                p = p + torch.stack([torch.cat([self.change(f"{prefix}.{expert}.{part}")
                                                for part in parts]) for expert in range(len(p))])
            elif module in self.pairs:
                p = p + self.change(module)
            weights[name] = p
        return weights

    def __call__(self, input_ids):
        return torch.func.functional_call(self.model, self.merged(), (), dict(input_ids=input_ids))

    def save(self, folder):
        folder.mkdir()
        tensors = {f"base_model.model.{name}.lora_{part}.weight": p.detach()
                   for name, pair in self.pairs.items() for part, p in zip("AB", pair)}
        safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")

    def merge(self):
        with torch.no_grad():
            for name, weight in self.merged().items():
                self.model.get_parameter(name).copy_(weight)


def write_expert_lora_case(folder, numbers, options, seed):
    model = make_model(numbers, seed)
    model.save_pretrained(folder / "model")
    batches = write_inputs(folder, model, seed)
    adapted = ExpertAdapters(model, options)
    adapted.save(folder / "peft")
    write_training(folder, adapted, batches, adapted.parameters())
    adapted.merge()
    flat(in_layout_order(model)).tofile(folder / "merged.f32")


def main():
    # These models are too small for threads, which would spin for each other on a busy machine.
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1])
    source = pathlib.Path(__file__).read_bytes()
    versions = f"{torch.__version__} {transformers.__version__} {peft.__version__}".encode()
    stamp = hashlib.sha256(source + versions).hexdigest()
    if (out / "stamp").exists() and (out / "stamp").read_text() == stamp:
        print("goldens are up to date")
        return
    shutil.rmtree(out, ignore_errors=True)
    for seed, (name, numbers) in enumerate(CASES.items()):
        (out / name).mkdir(parents=True)
        write_case(out / name, numbers, seed)
        print("wrote", name)
    for seed, (name, (base, options)) in enumerate(LORA.items(), start=100):
        (out / name).mkdir(parents=True)
        write = write_expert_lora_case if base == "experts" else write_lora_case
        write(out / name, CASES[base], options, seed)
        print("wrote", name)
    (out / "stamp").write_text(stamp)


main()
