"""`save_pretrained` and `load_state_dict` of a model with adapters: the adapters are saved, the frozen base is not.

    model.save_pretrained(directory), Trainer.save_model, Trainer's checkpoints
        adapter.json, adapter.safetensors     what `load_adapter` reads; in a folder NAME/ each if there are several
        model.safetensors                     the same tensors once more, in the one file that Trainer resumes from

Trainer knows only files of whole models and of PEFT's adapters. It hands what it finds in model.safetensors to
`load_state_dict`: there they are recognised, checked and written into the adapters. Without a config.json beside it nobody
takes that file for a model. Full fine-tuning saves the whole model, as transformers does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.adapters import files
from transfix.adapters.files import AdapterFileError
from transfix.adapters.methods.base import Method
from transfix.storage.atomic import StorageError, write_file

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MARK = "transfix/"  # no module of a model is called so
_SETTINGS, _DIGEST = "settings", "digest"
_WRAPPED = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.", "module.")


def tensors_of(methods: Sequence[Method]) -> dict[str, nn.Parameter]:
    """The learned tensors of an adapter by the name they have in a saved file (`prefix.3.embedding`)."""
    return {f"{m.part.method}.{name}": tensor for m in methods for name, tensor in m.tensors.items()}


class PretrainedFiles:
    """Takes the place of a model's `save_pretrained` while it has adapters.

    Attributes:
        model: the model.
        adapters: the parts of each adapter, by its name; it may change.
    """

    def __init__(self, model: PreTrainedModel, adapters: Mapping[str, Sequence[Method]]) -> None:
        self.model = model
        self.adapters = adapters
        self._taken = False
        self._hooks: list[Any] = []

    def open(self) -> None:
        """From now on the adapters are what is saved."""
        if not self._hooks:
            model: Any = self.model
            model.save_pretrained = self.save_pretrained
            self._hooks = [
                self.model.register_load_state_dict_pre_hook(self._before_load),
                self.model.register_load_state_dict_post_hook(self._after_load),
            ]

    def close(self) -> None:
        """Gives the model its own back."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.model.__dict__.pop("save_pretrained", None)

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        push_to_hub: bool = False,
        **others: Any,
    ) -> None:
        """Saves the adapters, with the arguments of transformers' method. Others than these do not matter to them.

        Raises:
            AdapterFileError: if the directory holds a model (the adapters are saved then, but not for Trainer), or cannot be
                written.
        """
        if not self._frozen_base():
            own = type(self.model).save_pretrained
            own(
                self.model,
                save_directory,
                is_main_process=is_main_process,
                state_dict=state_dict,
                push_to_hub=push_to_hub,
                **others,
            )
            return
        if push_to_hub:
            raise AdapterFileError("save_pretrained: to upload the adapters call model.push_to_hub(REPOSITORY).")
        if not is_main_process:
            return
        directory = Path(save_directory)
        tensors = {name: self._values(methods, state_dict) for name, methods in self.adapters.items()}
        for name, methods in self.adapters.items():
            target = directory / name if len(self.adapters) > 1 else directory
            files.save(self.model, name, [method.part for method in methods], tensors[name], target)
        if (directory / CONFIG).exists():
            raise AdapterFileError(
                f"{directory}: the adapters are saved, but there is a model too ({CONFIG}), whose weights are left alone: "
                "from_pretrained gives that model, and Trainer cannot go on from here. Save into a directory of their own."
            )
        self._write_weights(directory / WEIGHTS, tensors)

    def _frozen_base(self) -> bool:
        """Whether something is learned, and the base is not."""
        parts = [method.part for methods in self.adapters.values() for method in methods]
        return any(part.learns for part in parts) and not any(part.trains_base for part in parts)

    def _values(self, methods: Sequence[Method], state: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """An adapter's tensors: its own, or where weights are sharded those that were gathered into `state`."""
        if state is None:
            return {name: tensor.detach() for name, tensor in tensors_of(methods).items()}
        paths = {module: path for path, module in self.model.named_modules()}
        found = {}
        for method in methods:
            for name, (module, attribute) in method.places.items():
                path = f"{paths[module]}.{attribute}"
                for wrapped in _WRAPPED:
                    path = path.replace(wrapped, "")
                if path not in state:
                    raise AdapterFileError(
                        f"save_pretrained: the state_dict that was given has no {path}: leave it out."
                    )
                found[f"{method.part.method}.{name}"] = state[path]
        return found

    def _write_weights(self, path: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        from safetensors.torch import save as to_bytes

        held = {
            f"{MARK}{name}/{tensor}": value.contiguous().cpu()
            for name, values in tensors.items()
            for tensor, value in values.items()
        }
        for name, methods in self.adapters.items():
            held[f"{MARK}{name}/{_SETTINGS}"] = _settings(methods)
            held[f"{MARK}{name}/{_DIGEST}"] = _bytes(files.digest(tensors[name]))
        try:
            write_file(
                path, to_bytes(held, metadata={"format": "pt", "content": "adapters, for transfix.load_adapter"})
            )
        except StorageError as error:
            raise AdapterFileError(f"{path}: could not be written: {error.reason}.") from error

    def _before_load(self, model: nn.Module, state: dict[str, Any], prefix: str, *__: object) -> None:
        """Takes what `_write_weights` wrote out of a state, into the adapters."""
        names = [] if prefix else [name for name in state if name.startswith(MARK)]
        self._taken = bool(names)
        if not names:
            return
        saved: dict[str, dict[str, Tensor]] = {}
        for key in names:
            name, tensor = key.removeprefix(MARK).split("/", 1)
            saved.setdefault(name, {})[tensor] = state.pop(key)
        there, here = sorted(saved), sorted(self.adapters)
        if there != here:
            raise AdapterFileError(
                f"the checkpoint holds the adapters {', '.join(there)}; on this model are {', '.join(here)}. Attach those "
                "that were trained, by the same names."
            )
        source = Path(WEIGHTS)
        for name, methods in self.adapters.items():
            settings, digest = saved[name].pop(_SETTINGS), saved[name].pop(_DIGEST)
            if _text(settings) != _text(_settings(methods)):
                raise AdapterFileError(
                    f"the checkpoint's adapter {name!r} has other settings, {_text(settings)}, than the one on this model, "
                    f"{_text(_settings(methods))}. Attach it as it was trained."
                )
            if _text(digest) != files.digest(saved[name]):
                raise AdapterFileError(
                    f"the checkpoint's adapter {name!r} is damaged: it is not what was saved, by its digest. Go on from "
                    "another checkpoint (resume_from_checkpoint=DIRECTORY)."
                )
            files.require_fit(tensors_of(methods), saved[name], source)
        for name, methods in self.adapters.items():
            files.fill(tensors_of(methods), saved[name], source)

    def _after_load(self, _: nn.Module, keys: Any) -> None:
        """The base's weights are not missing: they are not saved."""
        if self._taken:
            keys.missing_keys.clear()
            self._taken = False


def _settings(methods: Sequence[Method]) -> Tensor:
    """What an adapter computes with, as bytes: rates may change between a checkpoint and its resumption."""
    settings = [
        {key: value for key, value in method.part.model_dump(mode="json").items() if "learning_rate" not in key}
        for method in methods
    ]
    return _bytes(json.dumps(settings, sort_keys=True))


def _bytes(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def _text(found: Tensor) -> str:
    return bytes(found.tolist()).decode(errors="replace")
