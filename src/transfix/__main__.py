"""`python -m transfix` is the command `transfix`."""

from transfix.cli import main

main()
