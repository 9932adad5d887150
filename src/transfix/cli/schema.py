"""`transfix schema`: for editors, hidden from people."""

from __future__ import annotations

from transfix.cli.failures import reported
from transfix.cli.output import print_json


@reported
def schema() -> None:
    """Print the JSON schema of a specification, for editors that check YAML."""
    from transfix.runs.specification import RunSpec

    print_json(RunSpec.model_json_schema())
