"""`python -m transfix` is the command `transfix`."""

from transfix.cli.app import main

main()
