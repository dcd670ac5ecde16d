"""Reinforcement learning with the tinker SDK against a Troupe cluster.

Each step samples groups of answers from the newest weights, scores them with a plain Python
function, and trains on how much better than its group each answer was (GRPO). Run it with
TINKER_BASE_URL and TINKER_API_KEY as `troupe up` printed them:

    python grpo.py --base-model NAME --steps 20
"""

import argparse
import json
import random

import tinker
from tinker import types

WANTED = set(b"abcdefghijklmnopqrstuvwxyz ")


def reward_of(tokens: list[int]) -> float:
    """The part of an answer that is lower-case text: a stand-in for any function of the text."""
    return sum(token in WANTED for token in tokens) / len(tokens)


def datum_of(prompt: list[int], answer: types.SampledSequence, advantage: float) -> types.Datum:
    tokens = prompt + list(answer.tokens)
    unscored = len(prompt) - 1
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": tokens[1:],
            "logprobs": [0.0] * unscored + list(answer.logprobs),
            "advantages": [0.0] * unscored + [advantage] * len(answer.tokens),
        },
    )


def train(
    base_model: str, steps: int, group_size: int, learning_rate: float, seed: int
) -> list[float]:
    prompts = [list(text.encode()) for text in ("Say: ", "More: ", "Song: ", "Word: ")]
    rng = random.Random(seed)
    means = []
    with tinker.ServiceClient() as service:
        training = service.create_lora_training_client(
            base_model=base_model, rank=8, seed=seed
        ).result()
        for step in range(steps):
            sampling = training.save_weights_and_get_sampling_client().result()
            asked = []
            for prompt in prompts:
                params = types.SamplingParams(
                    max_tokens=8, temperature=1.0, stop=[], seed=rng.getrandbits(31)
                )
                model_input = types.ModelInput.from_ints(prompt)
                asked.append(sampling.sample(model_input, group_size, params))
            batch, rewards = [], []
            for prompt, future in zip(prompts, asked):
                answers = future.result().sequences
                group = [reward_of(answer.tokens) for answer in answers]
                mean = sum(group) / len(group)
                batch += [datum_of(prompt, a, r - mean) for a, r in zip(answers, group)]
                rewards += group
            passed = training.forward_backward(batch, "importance_sampling")
            stepped = training.optim_step(types.AdamParams(learning_rate=learning_rate))
            passed.result()
            stepped.result()
            means.append(sum(rewards) / len(rewards))
            print(json.dumps({"step": step + 1, "reward": means[-1]}), flush=True)
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-model", required=True, help="a name of [models]")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn by chance")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
