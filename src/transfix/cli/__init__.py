"""The command `transfix`: one file a group of commands, each of which reads its arguments and calls one function."""

from transfix.cli.app import app as app
from transfix.cli.app import main as main
