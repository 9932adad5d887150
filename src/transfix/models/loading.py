"""Loads a causal language model with its tokenizer, ready to be adapted; whatever goes wrong ends in one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from transfix.errors import TransfixError
from transfix.models import files, hub, registry

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A base model in evaluation mode, on its device.

    Attributes:
        model: any transformers causal language model.
        tokenizer: with a padding token, padding on the left (targets stand at the end).
        name: as it was asked for.
        dtype: of the base weights.
        device: where the weights are.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    dtype: torch.dtype
    device: torch.device


def automatic_dtype(device: torch.device) -> torch.dtype:
    """The dtype of base weights that is fastest on `device` without harm.

    bfloat16 on a GPU that computes in it, and on a CPU with AMX or AVX512-BF16 (elsewhere PyTorch emulates it, which is
    several times slower than float32); otherwise float32. Never float16: its range is too small to train in.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        abilities = torch.cpu.get_capabilities()
        return torch.bfloat16 if abilities.get("amx_bf16") or abilities.get("avx512_bf16") else torch.float32
    return torch.float32


def choose_device(device: str) -> torch.device:
    """`auto` is the first GPU if there is one, then Apple's, else the CPU.

    Raises:
        TransfixError: there is no such device on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise TransfixError(f"device {device!r} cannot be used here ({reason}). Try auto, cpu or cuda.") from error
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The dtype by name; `auto` as `automatic_dtype` says.

    Raises:
        TransfixError: an unknown name.
    """
    if dtype == "auto":
        return automatic_dtype(device)
    if dtype not in DTYPES:
        raise TransfixError(f"dtype {dtype!r} is unknown (allowed: auto, {', '.join(DTYPES)}).")
    return DTYPES[dtype]


def load(
    name: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    say: registry.Say | None = None,
) -> LoadedModel:
    """Load a causal language model and its tokenizer. Remote code is never run.

    Args:
        name: a packaged model (`gemma-3-270m`), a local directory, or a hub id.
        dtype: auto, float32, bfloat16 or float16, for the base weights.
        device: auto, cpu, cuda, cuda:1, ...
        revision: branch, tag or commit of a hub model.
        say: told what takes long (a conversion), line by line.

    Raises:
        TransfixError: there is no such model, it cannot be reached, it is damaged or incomplete, or it is no decoder.
    """
    at = choose_device(device)
    chosen = choose_dtype(dtype, at)
    found = hub.resolve(name)
    if isinstance(found, str):
        source, local_only = found, hub.unreachable()
    else:
        if revision is not None:
            raise TransfixError(f"model {str(name)!r} is not from the hub: it has no revision {revision!r}, drop it.")
        source = str(registry.ensure(found, say) if isinstance(found, registry.PackagedModel) else found)
        files.check_directory(Path(source))
        local_only = True
    options: dict[str, Any] = {"revision": revision, "local_files_only": local_only, "trust_remote_code": False}
    with quiet(), explained(str(name), revision):
        config = AutoConfig.from_pretrained(source, **options)
        require_decoder(str(name), config)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=chosen, output_loading_info=True, **options
        )
        model, report = loaded[0].to(at), loaded[1]
    if missing := sorted(report["missing_keys"]):
        raise TransfixError(
            f"model {str(name)!r}: its files lack {len(missing)} weights that a {config.model_type} model needs, for "
            f"example {', '.join(missing[:3])}. They would be random. Is it the right checkpoint?"
        )
    _prepare_tokenizer(str(name), tokenizer)
    return LoadedModel(model.eval(), tokenizer, str(name), chosen, at)


def require_decoder(name: str, config: transformers.PretrainedConfig) -> None:
    """Refuse what cannot score an answer from left to right.

    Raises:
        TransfixError: the model is an encoder or an encoder-decoder.
    """
    if config.is_encoder_decoder:
        kind = "an encoder-decoder"
    elif is_encoder(config):
        kind = "an encoder"
    elif config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        kind = "no causal language model"
    else:
        return
    raise TransfixError(
        f"model {name!r} ({config.model_type}) is {kind}; training and evaluation need a decoder such as Llama, "
        "Mistral, Qwen, Gemma or GPT-2. `transfix inspect` says what else works with it."
    )


def _prepare_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        stand_in = tokenizer.eos_token or tokenizer.unk_token
        if stand_in is None:
            raise TransfixError(f"the tokenizer of {name!r} has no padding and no end token; add one to its files.")
        tokenizer.pad_token = stand_in


def is_encoder(config: transformers.PretrainedConfig) -> bool:
    """Whether this is BERT or its kin. They have a causal class too, with which their weights make no sense."""
    architectures = config.architectures or []
    causal = any("CausalLM" in name or "LMHead" in name for name in architectures) or getattr(
        config, "is_decoder", False
    )
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not causal


@contextmanager
def explained(name: str, revision: str | None) -> Iterator[None]:
    """Turns whatever goes wrong inside, while the model `name` is looked for or read, into a TransfixError."""
    try:
        yield
    except (TransfixError, torch.OutOfMemoryError) as error:
        if isinstance(error, TransfixError):
            raise
        raise TransfixError(f"model {name!r} does not fit on the device: {str(error).splitlines()[0]}") from error
    except Exception as error:  # transformers raises nearly anything on a bad file
        raise hub.explain(name, revision, error) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Runs the block without transformers' progress bars and reports: what matters of them is raised."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
