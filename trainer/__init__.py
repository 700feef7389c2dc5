"""Training, serving and export of models; each module is a program: `python -m trainer.NAME`."""

import gc

# Imports and weights make a million objects that stay; looking through them for garbage is an eighth of a start.
gc.set_threshold(100_000)
