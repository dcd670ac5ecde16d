"""Deltas in the form of Fireworks' hot-load, written here and read by their package, and back.

Usage: arc_interop.py TROUPE. Any difference in a bit, or damage that is not refused, fails.
"""

import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import fireworks_delta_compression.compression as reference
import torch
from safetensors.torch import load_file, save_file

TROUPE = sys.argv.pop(1)
FORMAT = "arc_v2"


def run(*words):
    done = subprocess.run([TROUPE, "model", *map(str, words), "--json"], capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def bits(pattern):
    """All 65,536 bf16 patterns, so -0, infinities, denormals and every NaN, in a fixed shuffle."""
    order = torch.randperm(65536, generator=torch.Generator().manual_seed(pattern))
    return order.to(torch.int32).to(torch.uint16).view(torch.bfloat16).reshape(256, 256)


def same(a, b):
    left, right = load_file(a), load_file(b)
    return left.keys() == right.keys() and all(
        left[key].dtype == right[key].dtype and left[key].shape == right[key].shape and
        torch.equal(left[key].contiguous().flatten().view(torch.uint8),
                    right[key].contiguous().flatten().view(torch.uint8)) for key in left)


class ArcInterop(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for name, seed in (("before", 1), ("after", 2)):
            directory = self.folder / name
            directory.mkdir()
            generator = torch.Generator().manual_seed(seed)
            save_file({"patterns": bits(seed), "empty": torch.empty(0, dtype=torch.bfloat16),
                       "scalar": torch.tensor(float(seed))}, directory / "one.safetensors")
            save_file({"floats": torch.randn(1000, generator=generator),
                       "bytes": torch.randint(-128, 127, (77,), generator=generator,
                                              dtype=torch.int8)}, directory / "two.safetensors")
            (directory / "config.json").write_text(json.dumps({"seed": seed}))

    def path(self, name):
        return self.folder / name

    def shards(self):
        return ("one.safetensors", "two.safetensors")

    def test_their_package_reads_what_is_written_here(self):
        code, answer = run("delta", self.path("before"), self.path("after"), self.path("delta"))
        self.assertEqual((code, answer["tensors"]), (0, 5))
        shutil.copytree(self.path("before"), self.path("copy"))
        for shard in self.shards():
            reference.delta_decompress_inplace(base_path=str(self.path("copy") / shard),
                                               diff_path=str(self.path("delta") / shard),
                                               compression_format=FORMAT)
            self.assertTrue(same(self.path("copy") / shard, self.path("after") / shard))

    def write_reference(self):
        self.path("delta").mkdir()
        for shard in self.shards():
            reference.delta_compress_files_to_file(
                src=str(self.path("before") / shard), dst=str(self.path("after") / shard),
                diff_file=str(self.path("delta") / shard), compression_format=FORMAT,
                must_match=True)

    def test_what_their_package_writes_is_read_here(self):
        self.write_reference()
        code, _ = run("apply", self.path("before"), self.path("delta"), self.path("new"))
        self.assertEqual(code, 0)
        for shard in self.shards():
            self.assertTrue(same(self.path("new") / shard, self.path("after") / shard))
        # Applying it once more is refused, and so is a directory of weights as a delta.
        for base, delta in (("new", "delta"), ("before", "after")):
            code, answer = run("apply", self.path(base), self.path(delta), self.path("twice"))
            self.assertEqual(code, 1, answer)
            self.assertFalse(self.path("twice").exists())

    def test_damage_is_refused_and_leaves_nothing(self):
        self.write_reference()
        dice = random.Random(3)
        for _ in range(60):
            shard = self.path("delta") / dice.choice(self.shards())
            whole = shard.read_bytes()
            spoilt = bytearray(whole)
            if dice.random() < 0.3:
                del spoilt[dice.randrange(len(spoilt)):]
            else:
                spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
            shard.write_bytes(spoilt)
            code, _ = run("apply", self.path("before"), self.path("delta"), self.path("new"))
            # A flip in the padding of a header may be harmless; what is taken must be exact.
            if code == 0:
                for name in self.shards():
                    self.assertTrue(same(self.path("new") / name, self.path("after") / name))
                shutil.rmtree(self.path("new"))
            self.assertFalse(self.path("new").exists())
            shard.write_bytes(whole)


if __name__ == "__main__":
    unittest.main()
