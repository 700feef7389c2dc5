"""Pretrains the tiny base model, a Qwen3-shaped causal LM that can read, edit and test pocket repositories.

    npm run pretrain

In: a corpus that cli/pretrain.ts plays, and perhaps the model to start from. Out: an ordinary Hugging Face folder with
its model card. All of it follows from these and the options: after the first weights nothing is drawn but the batches,
which are a function of seed and epoch (corpus.py). So weights, optimizer state and the update are all that a checkpoint needs, and a run that was
killed ends with the weights of one that was not. It goes on from the newest complete checkpoint by itself.

Not covered: several processes, accelerators, mixed precision; training on rollouts (train.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from trainer.card import model_card
from trainer.checkpoints import load_checkpoint, newest_checkpoint, save_checkpoint
from trainer.corpus import Corpus, batches_from, tokenise
from trainer.folders import replace_folder
from trainer.program import EXIT_BAD_INPUT, EXIT_STOPPED, BadInput, Stopped, StopRequest, emit, set_threads
from trainer.tokenizer import train_tokenizer

# Texts of this many conversations suffice for the merges.
TOKENIZER_CONVERSATIONS = 4000
WARMUP_UPDATES = 20
CLIP_NORM = 1.0
# Updates that the reported loss is the mean of.
LOSS_WINDOW = 100
PROGRESS_UPDATES = 10


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int, layers: int, width: int) -> Qwen3ForCausalLM:
    """Random float32 weights: 1.9 million with 1,000 vocabulary entries, 4 layers, 192 wide."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 96,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config).float()


class Optimizers:
    """Muon for the matrices of the layers, AdamW for embeddings and norms; one learning rate."""

    def __init__(self, model: Qwen3ForCausalLM, learning_rate: float) -> None:
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
        others = [p for name, p in named if p.dim() != 2 or "embed" in name]
        self.learning_rate, self.parameters = learning_rate, [*matrices, *others]
        self.parts = [
            torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, factor: float) -> None:
        """One update at `factor` times the learning rate; gradients are clipped together and forgotten after."""
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.learning_rate * factor
            part.step()
            part.zero_grad()

    def state_dict(self) -> list[dict]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def schedule(update: int, updates: int) -> float:
    """Factor of the learning rate: up over the first updates, then down to a tenth in a straight line."""
    return min(1.0, (update + 1) / WARMUP_UPDATES) * (1 - 0.9 * update / updates)


def batch_loss(model: Qwen3ForCausalLM, ids: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood (nats) of the tokens that the policy wrote. In: (B, L), (B, L). Out: ().

    Padding stands on the right, where causal attention does not look; only trained positions reach the head.
    """
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    return F.cross_entropy(model.lm_head(hidden[written[:, 1:]]), ids[:, 1:][written[:, 1:]])


class Start:
    """The model that a run starts from instead of random weights: a folder that an earlier run wrote."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "model.safetensors").exists():
            raise BadInput("ConfigInvalid", f"--start {folder}: no model is there; finish the run that writes it")
        self.folder = folder
        self.sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        self.card = (folder / "README.md").read_text(encoding="utf8")

    def tokenizer(self) -> PreTrainedTokenizerBase:
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    def model(self) -> Qwen3ForCausalLM:
        return Qwen3ForCausalLM.from_pretrained(self.folder, dtype=torch.float32, local_files_only=True)


class Run:
    """Weights, optimizers and counts of one run; `folder` holds its checkpoints, tokenizer and tokens."""

    def __init__(self, options: argparse.Namespace, stop: StopRequest) -> None:
        self.options, self.stop, self.folder = options, stop, options.run
        self.folder.mkdir(parents=True, exist_ok=True)
        self.corpus = Corpus(options.corpus)
        self.start = None if options.start is None else Start(options.start)
        self.tokenizer = self.make_tokenizer() if self.start is None else self.start.tokenizer()
        self.tokens = tokenise(self.corpus, self.tokenizer, self.folder / f"tokens-{self.name}")
        self.model = (
            new_model(self.tokenizer, options.seed, options.layers, options.width)
            if self.start is None
            else self.start.model()
        )
        self.weights = dict(self.model.named_parameters())
        self.optimizers = Optimizers(self.model, options.learning_rate)
        self.update, self.seen, self.seconds, self.losses, self.commit = 0, 0, 0.0, [], current_commit()

    @property
    def name(self) -> str:
        """What tokenizer and tokens follow from."""
        return f"{self.corpus.sha256[:12]}-{self.options.entries if self.start is None else self.start.sha256[:12]}"

    @property
    def identity(self) -> dict:
        """What must be equal for a checkpoint to be of this run."""
        names = ["updates", "seed", "batch_tokens", "learning_rate", "layers", "width", "entries", "threads"]
        start = {} if self.start is None else {"start": self.start.sha256}
        return {"corpus": self.corpus.sha256, **start, **{name: getattr(self.options, name) for name in names}}

    def make_tokenizer(self) -> PreTrainedTokenizerBase:
        folder = self.folder / f"tokenizer-{self.name}"
        if not folder.exists():
            first = (m for _, m in zip(range(TOKENIZER_CONVERSATIONS), self.corpus.conversations()))
            texts = (message["content"] for messages in first for message in messages)
            with replace_folder(folder) as made:
                train_tokenizer(texts, self.options.entries).save_pretrained(made)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def resume(self) -> None:
        """Goes on from the newest checkpoint, where there is one."""
        checkpoint = newest_checkpoint(self.folder / "checkpoints")
        if checkpoint is None:
            return
        stored = json.loads((checkpoint / "state.json").read_text())["identity"]
        if stored != self.identity:
            differ = [name for name, value in self.identity.items() if stored.get(name) != value]
            found = f"{checkpoint} is of a run with another {', '.join(differ)}"
            raise BadInput("ConfigInvalid", f"{found}; give the same options, or --run another folder")
        state = load_checkpoint(checkpoint, self.weights, self.optimizers)
        self.update, self.seen, self.seconds, self.losses, self.commit = state["counts"]

    def save(self) -> None:
        state = {
            "identity": self.identity,
            "counts": [self.update, self.seen, self.seconds, self.losses, self.commit],
        }
        save_checkpoint(self.folder / "checkpoints", self.update, self.weights, self.optimizers, state)

    def train(self) -> None:
        """Until the last update. Raises Stopped, with a checkpoint left, where a stop was asked for."""
        o = self.options
        started, saved = time.monotonic() - self.seconds, time.monotonic()
        for rows in batches_from(self.update, self.tokens.lengths, o.batch_tokens, o.seed):
            if self.stop or self.update >= o.updates:
                break
            loss = batch_loss(self.model, *self.tokens.batch(rows))
            if not torch.isfinite(loss):
                message = f"update {self.update}: the loss is {loss.item()}; lower --learning-rate"
                raise BadInput("TrainerDiverged", message)
            loss.backward()
            self.optimizers.step(schedule(self.update, o.updates))
            self.update += 1
            self.seen += int(self.tokens.lengths[rows].sum())
            self.losses = [*self.losses, loss.item()][-LOSS_WINDOW:]
            self.seconds = time.monotonic() - started
            if self.update % PROGRESS_UPDATES == 0 or self.update == o.updates:
                self.report()
            if time.monotonic() - saved > o.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save()
        self.stop.raise_if_asked()

    def report(self) -> None:
        recent = self.losses[-PROGRESS_UPDATES:]
        emit(
            "progress",
            update=self.update,
            updates=self.options.updates,
            loss=round(sum(recent) / len(recent), 4),
            tokens=self.seen,
            tokensPerSecond=round(self.seen / self.seconds),
        )

    def export(self, folder: Path) -> None:
        """The model folder: weights, tokenizer, model card."""
        with replace_folder(folder) as made:
            self.model.save_pretrained(made)
            self.tokenizer.save_pretrained(made)
            (made / "README.md").write_text(model_card(self.figures()), encoding="utf8")

    def figures(self) -> dict:
        """What the model card says, all of it measured or set."""
        return {
            **{name: getattr(self.options, name) for name in ("seed", "updates", "batch_tokens", "learning_rate")},
            "config": self.model.config,
            "parameters": sum(weight.numel() for weight in self.weights.values()),
            "corpus": self.corpus.facts,
            "start": None if self.start is None else {"sha256": self.start.sha256, "card": self.start.card},
            "corpus_tokens": len(self.tokens.ids),
            "corpus_sha256": self.corpus.sha256,
            "commit": self.commit,
            "update": self.update,
            "tokens": self.seen,
            "seconds": self.seconds,
            "threads": self.options.threads,
            "loss": sum(self.losses) / max(1, len(self.losses)),
            "window": len(self.losses),
            "torch": torch.__version__,
        }


def current_commit() -> str:
    """The commit of the checkout that this runs from; `unknown` outside of one."""
    top = Path(__file__).parent
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trainer.pretrain", description="Pretrains the tiny base model.")
    parser.add_argument("--corpus", type=Path, required=True, help="JSON lines of conversations")
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoints; a run in it goes on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models" / "tiny", help="model folder")
    parser.add_argument("--start", type=Path, help="model folder to start from; default: random weights")
    parser.add_argument("--updates", type=int, default=2800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="part of the run: sums differ with their number")
    parser.add_argument("--batch-tokens", type=int, default=8192, help="of one update, padding included")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192, help="a multiple of 96")
    parser.add_argument("--entries", type=int, default=1000, help="size of the vocabulary")
    parser.add_argument("--checkpoint-seconds", type=float, default=120)
    parser.add_argument("--export-only", action="store_true", help="write the newest checkpoint to --out and stop")
    return parser.parse_args(arguments)


def pretrain(options: argparse.Namespace, stop: StopRequest) -> None:
    set_threads(options.threads)
    run = Run(options, stop)
    run.resume()
    if not options.export_only:
        run.train()
    run.export(options.out)
    emit("done", update=run.update, out=str(options.out))


if __name__ == "__main__":
    try:
        pretrain(parse(), StopRequest().watch())
    except BadInput as error:
        emit("error", type=error.type, message=error.message)
        sys.exit(EXIT_BAD_INPUT)
    except Stopped:
        sys.exit(EXIT_STOPPED)
