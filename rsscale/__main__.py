"""``python -m rsscale``."""

from rsscale.cli import main

if __name__ == "__main__":
    main()
