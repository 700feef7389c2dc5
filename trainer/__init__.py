"""Training, serving and export of models; each module is a program: `python -m trainer.NAME`."""
