"""`python -m cpuhp`."""

from cpuhp.cli import main

main()
