"""Steered generation against unsteered plain transformers generation: same prompts, same number of tokens, in turn, as a ratio.

    python -m benchmarks.steering [--rounds 5] [--tokens 60]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from helpers.activations import pad
from helpers.chat import chat
from helpers.course import load_course
from helpers.models import load_model
from helpers.steering import generate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=60)
    options = parser.parse_args()
    model = load_model()
    calm = load_course(model).vectors["calm"]
    prompts = [chat(model, "Tell me a story about a lighthouse.")] * 2
    model.nn._module.generation_config.eos_token_id = None  # every run writes the same number of tokens
    inputs = pad(model, prompts)
    seconds: dict[str, list[float]] = {"steered": [], "plain": []}
    for turn in range(options.rounds + 1):
        start = time.perf_counter()
        generate(model, prompts, [0.1 * calm, None], max_new_tokens=options.tokens)
        middle = time.perf_counter()
        with torch.no_grad():
            model.nn._module.generate(**inputs, max_new_tokens=options.tokens, do_sample=False, pad_token_id=model.tokenizer.pad_token_id)
        end = time.perf_counter()
        if turn:  # the first is a warm-up
            seconds["steered"].append(middle - start)
            seconds["plain"].append(end - middle)
    ratios = np.divide(seconds["steered"], seconds["plain"])
    for name, values in seconds.items():
        print(f"{name:8s} {statistics.median(values):.2f} s ({2 * options.tokens / statistics.median(values):.0f} tokens/s)")
    print(f"steered / plain = {np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f}, n = {len(ratios)})")


if __name__ == "__main__":
    main()
