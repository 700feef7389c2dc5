"""The tiny model's card, filled with what was measured."""

from __future__ import annotations

TEMPLATE = """---
license: mit
library_name: transformers
pipeline_tag: text-generation
tags: [code, agents]
---

# tiny

A base model of {parameters:,} parameters for trying out the training of coding agents on a CPU: it reads a small
Python file, edits a line with `sed`, runs the tests, takes edits back and submits. It knows nothing else. It is weak on
purpose: part of what it learned from are wrong edits, so that training on resolved rollouts has something to teach.

| shape | |
|---|---|
| architecture | {architecture}: {layers} layers, {width} wide, feed-forward {inner}, {heads} heads, {kv_heads} \
key-value heads of {head_dim}, tied embeddings, float32 |
| context | {context:,} tokens |
| tokenizer | byte-level BPE of {entries:,} entries, boilerplate of tool calls and observations as single \
tokens (`trainer/tokenizer.py`) |
| chat template | ChatML |

## Data

{conversations:,} conversations, {corpus_tokens:,} tokens, as a rollout with the prompt `{prompt}` shows them to a
policy. They were played by scripts on {tasks:,} generated pocket tasks (seeds {first_seed} to {last_seed}; one broken
token in a function of about seven lines). sha256 of the JSON lines: `{corpus_sha256}`.

No task of the experiments is among them: bodies that belong to held-out tasks are not drawn, nor is any of the families
of the group `unseen`, and the {dropped:,} tasks that equal a training task of seed 1 up to names and numbers were
dropped. No text of other origin was used.

| mixture | |
|---|---|
| plays of a task | {plays} |
| by the teacher, who knows the fix | {teacher:.0%}; of these {sloppy:.0%} edit once and submit untested (two in \
five wrongly), the others first try and take back up to {wrong_edits} wrong edits |
| noisy | {noisy:.0%}: one to {noisy_edits} random wrong edits, each tested with probability {tests}, and submitted |
| steps shown as remaining at first | {soft_steps} |

## Training

`npm run pretrain -- --seed {seed} --threads {threads}` at commit `{commit}`, torch {torch}.

| | |
|---|---|
| starts from | {starts} |
| updates | {update:,} of {updates:,}, up to {batch_tokens:,} tokens each, padding included |
| tokens seen | {tokens:,} ({epochs:.2f} epochs) |
| loss | {loss:.4f} nats per token that the policy writes (content and end of turn), mean of the last {window} updates |
| optimizer | Muon for the matrices, AdamW for the rest; learning rate {learning_rate}, falling in a line to a tenth |
| time | {seconds:,} s, {threads} CPU thread{plural} ({rate:,} tokens/s) |
{before}
Licence: MIT, as the repository.
"""


def model_card(figures: dict) -> str:
    """The card's text. `figures` as `Run.figures` of pretrain.py gives them."""
    config, corpus, start = figures["config"], figures["corpus"], figures["start"]
    mixture = corpus["mixture"]
    fields = {
        **figures,
        "architecture": config.architectures[0] if config.architectures else type(config).__name__,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "inner": config.intermediate_size,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "context": config.max_position_embeddings,
        "entries": config.vocab_size,
        **{name: corpus[name] for name in ("conversations", "tasks", "dropped", "prompt")},
        "first_seed": corpus["firstSeed"],
        "last_seed": corpus["firstSeed"] + corpus["seeds"] - 1,
        **{name: mixture[name] for name in ("teacher", "sloppy", "tests")},
        "plays": _range(mixture["plays"]),
        "soft_steps": _range(mixture["softSteps"]),
        "wrong_edits": mixture["wrongEdits"],
        "noisy": 1 - mixture["teacher"],
        "noisy_edits": mixture["noisyEdits"],
        "epochs": figures["tokens"] / figures["corpus_tokens"],
        "seconds": round(figures["seconds"]),
        "rate": round(figures["tokens"] / figures["seconds"]) if figures["seconds"] else 0,
        "starts": "random weights" if start is None else f"the model below, sha256 `{start['sha256']}`",
        "before": "" if start is None else f"\n# Before\n\n{_middle(start['card'])}",
        "plural": "" if figures["threads"] == 1 else "s",
    }
    return TEMPLATE.format(**fields)


def _middle(card: str) -> str:
    """Data and training of an earlier card."""
    return card[card.index("## Data") : card.rindex("Licence:")].rstrip("\n") + "\n"


def _range(pair: list[int]) -> str:
    least, most = pair
    return f"{least} to {most}"
