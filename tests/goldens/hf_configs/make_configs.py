"""Writes config.json as save_pretrained() of one version of transformers does, a file per family.

The files here were written with transformers 4.57.3 and with 5.23.0, of the same models. To write
those of another version, install it beside a torch and run this with it:
  python -m venv v && v/bin/pip install transformers==4.57.3 torch && v/bin/python make_configs.py .
"""

import pathlib
import sys
import tempfile

import torch
import transformers

SMALL = dict(vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, rms_norm_eps=1e-5)
LLAMA3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)
CONFIGS = {
    "llama": dict(num_key_value_heads=2, head_dim=16, max_position_embeddings=131072,
                  tie_word_embeddings=True),
    # Neither head_dim nor key-value heads of its own: what a version fills in is read back.
    "qwen2": dict(num_key_value_heads=None, max_position_embeddings=4096,
                  tie_word_embeddings=True),
    "qwen3": dict(num_key_value_heads=2, head_dim=24, max_position_embeddings=40960,
                  tie_word_embeddings=False),
    "qwen3_moe": dict(num_key_value_heads=1, head_dim=16, max_position_embeddings=2048,
                      num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20,
                      norm_topk_prob=True, tie_word_embeddings=False),
}
THETAS = {"llama": 500000.0, "qwen2": 1000000.0, "qwen3": 1000000.0, "qwen3_moe": 20000.0}


def rope_of(family):
    scaling = LLAMA3 if family == "llama" else None
    if transformers.__version__.startswith("4."):
        return dict(rope_theta=THETAS[family], rope_scaling=scaling)
    return dict(rope_parameters=dict(scaling or dict(rope_type="default"),
                                     rope_theta=THETAS[family]))


def main():
    for family, numbers in CONFIGS.items():
        config = transformers.AutoConfig.for_model(family, **SMALL, **numbers, **rope_of(family))
        model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            text = (pathlib.Path(folder) / "config.json").read_text()
        name = f"{family}-{transformers.__version__}.json"
        (pathlib.Path(sys.argv[1]) / name).write_text(text)


main()
