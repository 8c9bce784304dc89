"""Capture of means at all blocks, side by side with what one would otherwise write: same texts, same batches, one run, ratios.

    python -m benchmarks.capture [--texts 24] [--rounds 5]

Ours against (a) plain transformers with output_hidden_states=True and a masked mean, and (b) a plain loop of forward hooks that reduce
as they go. Then 200 batches, to see whether memory grows.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable

import psutil
import torch

from helpers.activations import batches, capture, pad, real_positions
from helpers.chat import Prompt, plain
from helpers.corpus import read_neutral
from helpers.models import Model, load_model


def hidden_states(model: Model, prompts: list[Prompt]) -> None:
    network = model.nn._module
    for rows in batches([len(p) for p in prompts], 1024):
        inputs = pad(model, [prompts[i] for i in rows])
        with torch.no_grad():
            states = network(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        weight = _weight(inputs["attention_mask"])
        torch.stack([torch.einsum("bt,btd->bd", weight, state) for state in states[1:]], 1)


def hooks(model: Model, prompts: list[Prompt]) -> None:
    network, blocks = model.nn._module, [block._module for block in model.blocks]
    for rows in batches([len(p) for p in prompts], 1024):
        inputs = pad(model, [prompts[i] for i in rows])
        weight, found = _weight(inputs["attention_mask"]), []

        def reduce(module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
            found.append(torch.cat([torch.einsum("bt,btd->bd", weight, output), torch.einsum("bt,bt->b", weight, output.norm(dim=-1))[:, None]], -1))

        handles = [block.register_forward_hook(reduce) for block in blocks]
        try:
            with torch.no_grad():
                network(**inputs, logits_to_keep=1, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        torch.stack(found, 1)


def _weight(mask: torch.Tensor) -> torch.Tensor:
    weight = ((real_positions(mask) >= 50) & mask.bool()).float()
    return weight / weight.sum(1, keepdim=True)


def ours(model: Model, prompts: list[Prompt]) -> None:
    capture(model, prompts, ("body",))


def timed(work: Callable[[], None]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = load_model()
    prompts = [plain(model, text) for text in read_neutral().text[: options.texts]]
    tokens = sum(map(len, prompts))
    ways = {"ours": ours, "output_hidden_states": hidden_states, "plain hooks": hooks}
    for way in ways.values():
        way(model, prompts[:4])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):  # in turn, so that a machine that drifts drifts for all
        for name, way in ways.items():
            seconds[name].append(timed(lambda: way(model, prompts)))
    for name in ways:
        middle = statistics.median(seconds[name])
        ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds[name]))
        print(f"{name:22s} {middle:6.2f} s ({tokens / middle:4.0f} tokens/s, {min(seconds[name]):.2f} to {max(seconds[name]):.2f}); ours / this = {ratio:.3f}")
    print(f"peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    process, short = psutil.Process(), [Prompt("", p.ids[:60], {"body": tuple(range(50, 60))}) for p in prompts[:2]]
    marks = []
    for batch in range(200):
        capture(model, short, ("body",))
        if batch in (19, 109, 199):
            gc.collect()
            marks.append(process.memory_info().rss / 2**20)
    print(f"resident memory after 20, 110, 200 batches: {', '.join(f'{m:.0f}' for m in marks)} MiB")


if __name__ == "__main__":
    main()
