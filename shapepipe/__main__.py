"""`python -m shapepipe VERB`, the same as `shapepipe VERB`."""

from shapepipe.cli import main

if __name__ == "__main__":
    main()
