"""transformers loads the models that export_parity wrote, and gives the logprobs of this project.

Usage: check_hf_export.py GOLDENS
"""

import pathlib
import sys

import numpy as np
import torch
import transformers


def first_batch(path):
    numbers = iter(np.fromfile(path, dtype="<i4").tolist())
    next(numbers)
    for _ in range(next(numbers)):
        length = next(numbers)
        yield [[next(numbers) for _ in range(length)] for _ in range(2)]


def logprobs(model, batch):
    parts = []
    with torch.no_grad():
        for tokens, targets in batch:
            logits = model(input_ids=torch.tensor([tokens])).logits[0].float()
            picked = torch.log_softmax(logits, dim=-1)
            parts.append(picked.gather(1, torch.tensor(targets)[:, None])[:, 0])
    return torch.cat(parts).numpy()


def check(folder, type_name):
    index = folder / "model.safetensors.index.json"
    assert index.exists(), f"{folder} is one file"
    saved = transformers.AutoConfig.from_pretrained(folder).dtype
    assert saved == getattr(torch, type_name), f"{folder} says {saved}"
    model, found = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True)
    assert not any(found.values()), f"{folder}: {found}"
    mine = np.fromfile(folder / "logprobs.f32", dtype="<f4")
    theirs = logprobs(model, first_batch(folder.parent / "batches.i32"))
    assert mine.shape == theirs.shape, f"{folder}: {mine.shape} and {theirs.shape}"
    distance = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
    assert distance <= 1e-5, f"{folder}: logprobs differ by {distance}"
    print(folder.parent.name, type_name, distance)


def main():
    torch.set_num_threads(1)
    for name, type_name in (("exported_f32", "float32"), ("exported_bf16", "bfloat16")):
        folders = sorted(pathlib.Path(sys.argv[1]).glob("*/" + name))
        assert folders, "nothing was exported"
        for folder in folders:
            check(folder, type_name)


main()
