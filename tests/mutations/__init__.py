"""Deliberately broken builds: for each promise some changes that would break it, and the tests that must notice.

`python -m tests.mutations` (`make mutations`) proves that the suite can fail: it applies one change after the other to
a copy of the checkout and runs the tests named beside it. The table of promises is docs/promises.md.
"""
