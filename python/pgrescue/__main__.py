"""`python -m pgrescue` is the command `pgrescue`, where only the Python is known that it is installed for."""

from pgrescue.cli import main

if __name__ == "__main__":
    main()
