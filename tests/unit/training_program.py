"""The command, for tests that launch it in several processes."""

from vilbench.cli import main

if __name__ == "__main__":
    main()
