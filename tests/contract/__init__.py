"""The ports: the same tests over every adapter and its twin."""
