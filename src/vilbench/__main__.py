"""`python -m vilbench` is the command."""

from vilbench.cli import main

if __name__ == "__main__":
    main()
