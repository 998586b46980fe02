"""`python -m helmsight` is the `helmsight` command."""

from helmsight.cli.main import main

main()
