"""Supervised fine-tuning with the tinker SDK against a Troupe cluster.

Teaches a byte-level model to add small numbers. Run it with TINKER_BASE_URL and TINKER_API_KEY as
`troupe up` printed them:

    python sft.py --base-model NAME --steps 40
"""

import argparse
import json
import random

import tinker
from tinker import types


def example(rng: random.Random) -> types.Datum:
    """One line of text. The weights leave the question out of the loss."""
    a, b = rng.randrange(10), rng.randrange(10)
    question, answer = f"{a}+{b}=", f"{a + b}\n"
    tokens = list((question + answer).encode())
    weights = [0.0] * len(question) + [1.0] * len(answer)
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": weights[1:]},
    )


def train(
    base_model: str, steps: int, batch_size: int, learning_rate: float, seed: int
) -> list[float]:
    rng = random.Random(seed)
    losses = []
    with tinker.ServiceClient() as service:
        training = service.create_lora_training_client(
            base_model=base_model, rank=8, seed=seed
        ).result()
        for step in range(steps):
            batch = [example(rng) for _ in range(batch_size)]
            # Both are submitted before either is awaited: the cluster never waits for this loop.
            passed = training.forward_backward(batch, "cross_entropy")
            stepped = training.optim_step(types.AdamParams(learning_rate=learning_rate))
            total = sum(sum(d.loss_fn_inputs["weights"].data) for d in batch)
            losses.append(passed.result().metrics["loss:sum"] / total)
            stepped.result()
            print(json.dumps({"step": step + 1, "loss": losses[-1]}), flush=True)
        saved = training.save_state("final").result()
        print(json.dumps({"checkpoint": saved.path}), flush=True)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-model", required=True, help="a name of [models]")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn by chance")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
