"""`python -m salip_exp`."""

from salip_exp.cli import main

main()
