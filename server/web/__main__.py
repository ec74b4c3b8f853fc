"""`python -m server.web`."""

from server.web.main import main

if __name__ == "__main__":
    main()
