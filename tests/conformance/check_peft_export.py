"""PEFT loads the adapters that lora_parity exported, and merges them to the goldens.

Usage: check_peft_export.py GOLDENS
"""

import pathlib
import sys

import numpy as np
import peft
import torch
import transformers


def merged(folder):
    base = transformers.AutoModelForCausalLM.from_pretrained(folder / "model",
                                                             dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, folder / "exported").merge_and_unload()
    return dict(model.named_parameters())


def in_layout_order(parameters):
    """As make_goldens.py has them: biases behind the matrices they follow, experts at the end of
    their block, of each first gate and up, then down."""
    names = list(parameters)
    place = {name: i for i, name in enumerate(names)}

    def key(name):
        if name.endswith("_proj.bias"):
            last = name[:name.rindex(".self_attn")] + ".self_attn.v_proj.weight"
            return place[last], 1, place[name]
        if ".experts." in name:
            last = name[:name.rindex(".mlp")] + ".post_attention_layernorm.weight"
            return place[last], 1, place[name]
        return place[name], 0, 0

    order = sorted(names, key=key)
    while order:
        name = order.pop(0)
        if parameters[name].dim() != 3:
            yield name, parameters[name]
            continue
        down = order.pop(0)
        for expert, pair in enumerate(zip(parameters[name], parameters[down])):
            yield f"{name} {expert}", pair[0]
            yield f"{down} {expert}", pair[1]


def with_goldens(folder, parameters):
    values = np.fromfile(folder / "merged.f32", dtype="<f4")
    at = 0
    for name, parameter in in_layout_order(parameters):
        mine = parameter.detach().numpy().reshape(-1)
        yield name, mine, values[at:at + len(mine)]
        at += len(mine)
    assert at == len(values), f"{folder.name}: {len(values)} values for {at} elements"


def main():
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/exported"))
    assert folders, "nothing was exported"
    for folder in folders:
        worst = 0.0
        for name, mine, golden in with_goldens(folder, merged(folder)):
            distance = np.linalg.norm(mine - golden) / np.linalg.norm(golden)
            assert distance <= 1e-5, f"{folder.name}: {name} differs by {distance}"
            worst = max(worst, distance)
        print(folder.name, "worst", worst)


main()
