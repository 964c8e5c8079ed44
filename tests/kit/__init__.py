"""Real servers and other things that tests need; see README.md in this folder."""
