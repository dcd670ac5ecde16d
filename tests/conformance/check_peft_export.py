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


def expected(folder, parameters):
    """The flat file of make_goldens.py, with the biases behind the matrices they follow."""
    names = list(parameters)
    place = {name: i for i, name in enumerate(names)}
    last = {name: name[:name.rindex(".self_attn")] + ".self_attn.v_proj.weight"
            for name in names if name.endswith("_proj.bias")}
    order = sorted(names, key=lambda n: (place[last.get(n, n)], n in last, place[n]))
    values = np.fromfile(folder / "merged.f32", dtype="<f4")
    at = 0
    for name in order:
        count = parameters[name].numel()
        yield name, values[at:at + count]
        at += count
    assert at == len(values), f"{folder.name}: {len(values)} values for {at} elements"


def main():
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/exported"))
    assert folders, "nothing was exported"
    for folder in folders:
        parameters = merged(folder)
        worst = 0.0
        for name, golden in expected(folder, parameters):
            mine = parameters[name].detach().numpy().reshape(-1)
            distance = np.linalg.norm(mine - golden) / np.linalg.norm(golden)
            assert distance <= 1e-5, f"{folder.name}: {name} differs by {distance}"
            worst = max(worst, distance)
        print(folder.name, "worst", worst)


main()
