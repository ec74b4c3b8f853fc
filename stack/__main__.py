"""`python -m stack`: the whole system on one machine."""

from stack.command import main

main()
