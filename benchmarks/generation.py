"""Generation: tokens a second, against lm-evaluation-harness (transformers' generate) with the same prompts on the same rows.

    python -m benchmarks.generation      xquad_de, base model, bfloat16, answers of at most 32 tokens

Tokens are those of the answers that come out, up to the stop sequence; reading the prompts is in the time of both sides.
"""

from __future__ import annotations

from benchmarks import arguments
from benchmarks.evaluation import compare


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=64)
    parser.add_argument("--batch", type=int, default=16, help="the harness' batch size (default 16)")
    given = parser.parse_args()
    compare(
        {"xquad_de": ("xquad", "lm-eval", "qa/xquad/xquad.{lang}.json", 1.0)},
        given,
        "tokens_per_s",
        "tokens/s",
        "generation",
    )


if __name__ == "__main__":
    main()
