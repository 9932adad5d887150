"""How large anything may be that is read or asked for: beyond it is a mistake, or meant to take all memory or time there is.

Each limit is far above what is used, and whoever enforces it says the limit and what was found. What a message may hold is
in `errors`.
"""

from __future__ import annotations

# ---- files that are read whole

SETTINGS_BYTES = 1_000_000
"""Bytes of a specification, a study or a task file: PyYAML reads about 100,000 a second."""

RECORD_BYTES = 100_000_000
"""Bytes of a JSON file of a run, of a study, or of a model."""

INDEX_BYTES = 2_000_000_000
"""Bytes of what is remembered of all runs below a folder."""

DOCUMENT_BYTES = 300_000_000
"""Bytes of a benchmark that is one JSON document, unpacked; in memory it takes several times that."""

DEEPEST = 40
"""Mappings and lists inside each other in settings, and keys of a path of `--set`."""

# ---- rows

LINE_BYTES = 50_000_000
"""Bytes of a line, and characters of a cell, of a file of rows."""

EMPTY_LINES = 1_000_000
"""Empty lines after each other in a file of rows."""

EXPANSION, EXPANSION_FROM = 100, 100_000_000
"""How many times its size a gzip file may unpack to, once that is more than so many bytes; text unpacks to 3 to 20 times."""

TYPED_ROWS = 100_000_000
"""Rows of a parquet file, in which a value that repeats takes no room."""

PREDICTIONS = 20_000_000
"""Rows of a file of predictions."""

# ---- what a specification asks for

EPOCHS = 1_000_000
"""Passes over the training rows."""

ROWS_SEEN = 50_000_000
"""Rows that a training sees in all of its epochs: every step is laid out before the first one, at some 40 bytes a row."""

EVALUATIONS = 300
"""Entries of `evaluate`."""

PARTS = 50
"""Parts of an adapter."""

UNKNOWN_KEYS = 20
"""Unknown keys of one mapping that are named; the others are counted."""

COMBINATIONS = 10_000
"""Combinations of a study, of which each is checked as a run."""

EXCLUDED_COMBINATIONS = 1_000_000
"""Combinations of a study, those that are left out among them."""

RUNS_REPORTED = 5_000
"""Runs of one report: a page is read by people."""

# ---- a model's configuration

LAYERS = 10_000
"""The deepest language models have some hundred."""

EXPERTS = 10_000
"""Of a layer."""

LABELS = 1_000_000
"""Classes of a head; transformers writes out a name for each."""
