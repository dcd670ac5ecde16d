"""A loss of one's own with the tinker SDK against a Troupe cluster: direct preference optimisation.

The loss is a plain torch function of the logprobs of pairs of answers; Troupe needs to know nothing
about it. Run it with TINKER_BASE_URL and TINKER_API_KEY as `troupe up` printed them:

    python custom_loss.py --base-model NAME --steps 20
"""

import argparse
import json
import random

import tinker
import torch
from tinker import types


def answer(text: str, question: str) -> types.Datum:
    tokens = list((question + text).encode())
    weights = [0.0] * len(question.encode()) + [1.0] * len(text.encode())
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": weights[1:]},
    )


def pair(rng: random.Random) -> list[types.Datum]:
    """The wanted answer and the unwanted one to the same question."""
    number = rng.randrange(10)
    question = f"{number} is "
    names = ["even\n", "odd\n"]
    return [answer(names[number % 2], question), answer(names[1 - number % 2], question)]


def answer_logprobs(batch: list[types.Datum], logprobs: list[torch.Tensor]) -> torch.Tensor:
    weights = [torch.tensor(d.loss_fn_inputs["weights"].data) for d in batch]
    return torch.stack([(w * p).sum() for w, p in zip(weights, logprobs)])


def train(
    base_model: str, steps: int, pairs: int, learning_rate: float, beta: float, seed: int
) -> list[float]:
    rng = random.Random(seed)
    accuracies = []
    with tinker.ServiceClient() as service:
        training = service.create_lora_training_client(
            base_model=base_model, rank=8, seed=seed
        ).result()
        batch = [datum for _ in range(pairs) for datum in pair(rng)]
        before = training.forward(batch, "cross_entropy").result()
        reference = answer_logprobs(
            batch, [torch.tensor(out["logprobs"].data) for out in before.loss_fn_outputs]
        )

        def preference_loss(data, logprobs):
            gained = answer_logprobs(data, logprobs) - reference
            margins = beta * (gained[0::2] - gained[1::2])
            loss = -torch.nn.functional.logsigmoid(margins).sum()
            return loss, {"preferred": (margins > 0).float().mean().item()}

        for step in range(steps):
            passed = training.forward_backward_custom(batch, preference_loss)
            stepped = training.optim_step(types.AdamParams(learning_rate=learning_rate))
            metrics = passed.result().metrics
            stepped.result()
            accuracies.append(metrics["preferred"])
            print(json.dumps({"step": step + 1, "preferred": metrics["preferred"]}), flush=True)
    return accuracies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-model", required=True, help="a name of [models]")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--beta", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn by chance")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
