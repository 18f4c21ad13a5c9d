"""`python -m felloe`: the command line."""

from felloe.cli import main

if __name__ == "__main__":
    main()
