"""Loads a base model with its tokenizer, ready to be adapted; whatever goes wrong ends in one message."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from transfix.adapters.encoders import is_encoder
from transfix.errors import TransfixError
from transfix.models import classifiers, files, hub, quantised, registry, vocabulary
from transfix.models.offload import Offload, device_map
from transfix.models.quantised import Quantization

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A base model in evaluation mode, on its device.

    Attributes:
        model: any transformers causal language model, or an encoder with a head of classes.
        tokenizer: with a padding token; of a decoder padding on the left (targets stand at the end).
        name: as it was asked for.
        dtype: of the base weights.
        device: where the weights are.
        classes: of an encoder, in the order of its head's; empty for a decoder.
        untrained_head: whether the model's files hold no head of these classes, so that it is random.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    dtype: torch.dtype
    device: torch.device
    classes: tuple[str, ...] = ()
    untrained_head: bool = False


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
        raise TransfixError(f"device {device!r} cannot be used here ({reason}). Use auto or cpu.") from error
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
    quantization: Quantization = "none",
    offload: Offload = "none",
    classes: Sequence[str] = (),
    seed: int = 0,
) -> LoadedModel:
    """Load a causal language model, or an encoder, and its tokenizer. Remote code is never run.

    Args:
        name: a packaged model (`gemma-3-270m`), a local directory, or a hub id.
        dtype: auto, float32, bfloat16 or float16, for the base weights.
        device: auto, cpu, cuda, cuda:1, ...
        revision: branch, tag or commit of a hub model.
        say: told what takes long (a conversion), line by line.
        quantization: none, or int8 or int4 for the linear layers' weights (see `quantised`).
        offload: where the layers' weights stay while they do not run: on the device, in main memory, on the disk.
        classes: what an encoder is to choose from. A head that its files have for them is taken, else one is made.
        seed: of what is made.

    Raises:
        TransfixError: there is no such model, it cannot be reached, it is damaged or incomplete; it is neither a decoder nor
            an encoder with classes; it cannot be quantised or offloaded like this; its tokenizer uses tokens that it has no
            embeddings for.
    """
    at = choose_device(device)
    chosen = choose_dtype(dtype, at)
    smaller = quantised.options(quantization, chosen, at)
    if smaller and offload != "none":
        raise TransfixError(f"offload {offload} does not go with quantization {quantization}: leave one of them out.")
    found = hub.resolve(name)
    directory = None
    if not isinstance(found, str):
        if revision is not None:
            raise TransfixError(f"model {str(name)!r} is not from the hub: it has no revision {revision!r}, drop it.")
        directory = registry.ensure(found, say) if isinstance(found, registry.PackagedModel) else found
        files.check_directory(directory)
    source = read_from = str(directory or found)
    if isinstance(found, registry.PackagedModel) and not smaller:  # what is left unquantised would hold the whole file
        read_from = str(registry.weights(found, chosen))
    options = source_options(source, revision)
    config = read_config(str(name), source, options)
    answering = classifiers.prepare(str(name), config, classes) if is_encoder(config) else None
    if answering is None:
        require_decoder(str(name), config)
    elif smaller or offload != "none":
        what = f"quantization {quantization}" if smaller else f"offload {offload}"
        raise TransfixError(
            f"model {str(name)!r} is an encoder, which is loaded without {what.split()[0]}: leave it out."
        )
    if getattr(config, "quantization_config", None):
        if smaller:
            raise TransfixError(f"model {str(name)!r} is quantised already: use quantization: none.")
        with quiet():
            quantised.require_known(str(name), config.quantization_config)
        smaller = {"device_map": {"": at}}
    with quiet(), explained(str(name), revision, "tokenizer", directory):
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    vocabulary.require_words(str(name), tokenizer)
    with quiet(), explained(str(name), revision, "weights", directory):
        if offload != "none":
            options["device_map"] = device_map(str(name), config, offload, at)
        auto: Any = AutoModelForCausalLM if answering is None else AutoModelForSequenceClassification
        loaded: Any = auto.from_pretrained(
            read_from,
            config=config,
            dtype=chosen,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below
            output_loading_info=True,
            **smaller,
            **options,
        )
        placed = bool(smaller) or offload != "none"
        model, report = loaded if placed else (loaded[0].to(at), loaded[1])
    if getattr(config, "quantization_config", None):
        quantised.require_quantised(str(name), model)
    for parameter in model.parameters() if offload != "none" else ():
        parameter.requires_grad_(parameter.requires_grad and not parameter.is_meta)  # it comes anew for every forward
    if smaller:
        quantised.prepare(model)
    untrained = answering is not None and classifiers.fill(model, report, answering, seed)
    _require_all_weights(str(name), config, report)
    _prepare_tokenizer(str(name), tokenizer, "left" if answering is None else "right")
    vocabulary.require_embeddings(str(name), tokenizer, int(model.get_input_embeddings().weight.shape[0]))
    _give_back_memory()
    own = () if answering is None else answering.classes
    return LoadedModel(model.eval(), tokenizer, str(name), chosen, at, own, untrained)


def source_options(source: str, revision: str | None = None) -> dict[str, Any]:
    """What every `from_pretrained` is told of a directory or a hub id. May take the time of a name lookup."""
    local_only = Path(source).is_dir() or hub.unreachable()
    return {"revision": revision, "local_files_only": local_only, "trust_remote_code": False}


def read_config(name: str, source: str, options: Mapping[str, Any]) -> PreTrainedConfig:
    """A model's configuration.

    Args:
        name: of the model, as the user gave it.
        source: a directory or a hub id.
        options: see `source_options`.

    Raises:
        TransfixError: it cannot be found or read, or transformers does not know the architecture.
    """
    with quiet(), explained(name, options["revision"]):
        try:
            if not Path(source).is_dir():  # of a directory they are checked
                raw, _ = PreTrainedConfig.get_config_dict(source, **options)
                files.check_sizes(raw, f"the configuration of model {name!r}")
            config: PreTrainedConfig = AutoConfig.from_pretrained(source, **options)
        except Exception:
            with suppress(OSError):  # the file itself is missing: the first error says why
                raw, _ = PreTrainedConfig.get_config_dict(source, **{**options, "local_files_only": True})
                hub.require_architecture(name, raw)
            raise
    return config


def _require_all_weights(name: str, config: PreTrainedConfig, report: Mapping[str, Any]) -> None:
    """Refuse a model some of whose weights transformers has made up."""
    if missing := sorted(report["missing_keys"]):
        raise TransfixError(
            f"model {name!r}: its files lack {len(missing)} weights that a {config.model_type} model needs, for "
            f"example {', '.join(missing[:3])}. They would be random. Is it the right checkpoint?"
        )
    if mismatched := sorted(report["mismatched_keys"]):
        key, there, wanted = mismatched[0]
        raise TransfixError(
            f"model {name!r}: {len(mismatched)} weights have another shape than its {files.CONFIG} says, for example "
            f"{key}: {tuple(there)} in the file, {tuple(wanted)} by the configuration. Restore the {files.CONFIG} that "
            "the weights were saved with."
        )


def require_decoder(name: str, config: PreTrainedConfig) -> None:
    """Refuse what cannot score an answer from left to right.

    Raises:
        TransfixError: the model is an encoder or an encoder-decoder.
    """
    if config.is_encoder_decoder:
        kind = "an encoder-decoder"
    elif is_encoder(config):
        kind = "an encoder; it chooses among the classes of a task, as of mnli and xnli"
    elif config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        kind = "no causal language model"
    else:
        return
    raise TransfixError(
        f"model {name!r} ({config.model_type}) is {kind}; training and evaluation on texts need a decoder such as Llama, "
        "Mistral, Qwen, Gemma or GPT-2. `transfix inspect` says what else works with it."
    )


def _prepare_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase, side: str) -> None:
    tokenizer.padding_side = side
    if tokenizer.pad_token_id is None:
        stand_in = tokenizer.eos_token or tokenizer.unk_token
        if stand_in is None:
            raise TransfixError(
                f"the tokenizer of {name!r} has no padding and no end token: name one as pad_token in its "
                "tokenizer_config.json (is that file there?)."
            )
        tokenizer.pad_token = stand_in


def _give_back_memory() -> None:
    """Hands what reading left free on the heap back to the system: 0.3 GB after a tokenizer of 262,144 tokens."""
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def explained(
    name: str, revision: str | None, part: hub.Part = "model", directory: Path | None = None
) -> Iterator[None]:
    """Turns whatever goes wrong inside, while the model `name` is looked for or read, into a TransfixError.

    See `hub.explain` for the arguments.
    """
    try:
        yield
    except (TransfixError, torch.OutOfMemoryError) as error:
        if isinstance(error, TransfixError):
            raise
        raise TransfixError(f"model {name!r} does not fit on the device: {str(error).splitlines()[0]}") from error
    except Exception as error:  # transformers raises nearly anything on a bad file
        raise hub.explain(name, revision, error, part, directory) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Runs the block without transformers' progress bars and reports, and without the hub's retries being told.

    What matters of them is raised. Downloads keep their progress bars.
    """
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    hub_verbosity = huggingface_hub.logging.get_verbosity()
    log.set_verbosity_error()
    log.disable_progress_bar()
    huggingface_hub.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        huggingface_hub.logging.set_verbosity(hub_verbosity)
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
