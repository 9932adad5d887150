"""How an answer text is judged: spans by exact match and F1, final numbers, summaries by ROUGE, translations.

Pure functions from texts to scores, by language. `spans` and `numbers` need nothing but this package; `texts` needs the
extra `generation` and imports its packages when a function is first called.

    >>> from transfix.tasks import judging
    >>> judging.f1("the Rhine", ["Rhine", "River Rhine"], "squad", "eng_Latn")
    1.0
    >>> judging.extract_number("3 + 2 = 5. Die Antwort ist 1.234,5 Euro.", "deu_Latn")
    Extracted(number=Decimal('1234.5'), how='phrase')
"""

from transfix.tasks.judging.numbers import Extracted, extract_number, same_number
from transfix.tasks.judging.spans import NORMALISERS, exact_match, f1, normalise_mlqa, normalise_squad
from transfix.tasks.judging.texts import bleu_counts, bleu_tokenizer, chrf_counts, rouge, sentence_chrf

__all__ = [
    "NORMALISERS",
    "Extracted",
    "bleu_counts",
    "bleu_tokenizer",
    "chrf_counts",
    "exact_match",
    "extract_number",
    "f1",
    "normalise_mlqa",
    "normalise_squad",
    "rouge",
    "same_number",
    "sentence_chrf",
]
