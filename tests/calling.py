"""The command line, called in the process of the tests."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from transfix.cli.app import app


def call(*arguments: object) -> Result:
    """A command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> Result:
    """A command that ends well."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def refused(*arguments: object) -> str:
    """The message of a command that ends with exit status 2; its line breaks as spaces."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert "Error:" not in result.stderr[6:], "more than one message"
    return " ".join(result.stderr.split())
