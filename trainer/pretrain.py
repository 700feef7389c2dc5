"""Pretrains the tiny base model: a Qwen3-shaped causal LM that can read, edit and test pocket repositories.

    python -m trainer.pretrain --corpus runs/pretrain/corpus.jsonl --run runs/pretrain --updates 2000

In: JSON lines `{"messages": [...]}`. Out: an ordinary Hugging Face folder with its model card. Everything follows from
corpus, seed and options: batches are a function of (seed, epoch), nothing else is drawn after the weights, so a
checkpoint needs no random state, and a run that was killed ends with the same weights as one that was not. It goes on
from the newest complete checkpoint of the run folder by itself.
Not covered: several processes, accelerators, mixed precision.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from trainer.card import model_card
from trainer.folders import replace_folder
from trainer.tokenizer import END, START, train_tokenizer

# Texts of this many conversations suffice for the merges.
TOKENIZER_CONVERSATIONS = 4000
WARMUP_UPDATES = 20
# Lengths within this many tokens of each other are shuffled into one bucket.
LENGTH_SPREAD = 40
LOG_EVERY = 10


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int, layers: int = 4, width: int = 192) -> Qwen3ForCausalLM:
    """Random float32 weights; 1.9 million with 1,000 vocabulary entries and the default shape."""
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


class Tokens:
    """The tokenised corpus. ids: (T,) uint16, all conversations end to end; starts: (N + 1,) offsets into it."""

    def __init__(self, ids: np.ndarray, starts: np.ndarray, tokenizer: PreTrainedTokenizerFast):
        self.ids, self.starts, self.pad = ids, starts, tokenizer.pad_token_id
        self.header = tokenizer.convert_tokens_to_ids(f"{START}assistant\n")
        self.end = tokenizer.convert_tokens_to_ids(END)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L) token ids, padded right, and (B, L) booleans: the policy wrote this token."""
        ids = np.full((len(rows), int(self.lengths[rows].max())), self.pad, dtype=np.int64)
        for row, index in zip(ids, rows):
            own = self.ids[self.starts[index] : self.starts[index + 1]]
            row[: len(own)] = own
        return torch.from_numpy(ids), torch.from_numpy(self.written(ids))

    def written(self, ids: np.ndarray) -> np.ndarray:
        """(B, L) booleans: behind an assistant's header, up to and with the end of its turn."""
        position = np.arange(ids.shape[1])
        last = lambda hits: np.maximum.accumulate(np.where(hits, position, -1), axis=1)  # noqa: E731
        before = np.roll(ids, 1, axis=1)
        before[:, 0] = self.pad
        headers, ends = last(before == self.header), last(before == self.end)
        return headers > ends


def tokenise(corpus: Path, tokenizer: PreTrainedTokenizerFast, path: Path) -> Tokens:
    """Encodes the corpus once; later runs read `path`."""
    if not path.exists():
        lengths, parts, texts = [0], [], []

        def flush() -> None:
            for encoded in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False):
                parts.append(np.array(encoded.ids, dtype=np.uint16))
                lengths.append(len(encoded.ids))
            texts.clear()

        for messages in conversations(corpus):
            texts.append(tokenizer.apply_chat_template(messages, tokenize=False))
            if len(texts) == 2000:
                flush()
        flush()
        with open(f"{path}.tmp", "wb") as file:
            np.savez(file, ids=np.concatenate(parts), starts=np.cumsum(lengths))
        os.replace(f"{path}.tmp", path)
    with np.load(path) as arrays:
        return Tokens(arrays["ids"], arrays["starts"], tokenizer)


def conversations(corpus: Path) -> Iterator[list[dict]]:
    with open(corpus, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["messages"]


def epoch_batches(lengths: np.ndarray, batch_tokens: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Rows of each batch: alike in length, at most `batch_tokens` with padding, in random order."""
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths))
    order = order[np.argsort(lengths[order] + draw.random(len(order)) * LENGTH_SPREAD, kind="stable")]
    batches, first, longest = [], 0, 0
    for at, row in enumerate(order):
        longest = max(longest, int(lengths[row]))
        if at > first and (at - first + 1) * longest > batch_tokens:
            batches.append(order[first:at])
            first, longest = at, int(lengths[row])
    batches.append(order[first:])
    return [batches[i] for i in draw.permutation(len(batches))]


def batches_from(update: int, lengths: np.ndarray, batch_tokens: int, seed: int) -> Iterator[np.ndarray]:
    """The batches of an endless run, without the first `update` ones."""
    epoch = 0
    while True:
        batches = epoch_batches(lengths, batch_tokens, seed, epoch)
        yield from batches[update:]
        update = max(0, update - len(batches))
        epoch += 1


class Optimizers:
    """Muon for the matrices of the layers, AdamW for embeddings and norms; one learning rate."""

    def __init__(self, model: Qwen3ForCausalLM, learning_rate: float):
        matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
        others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
        self.model, self.learning_rate = model, learning_rate
        self.parts = [
            torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, factor: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.learning_rate * factor
            part.step()
            part.zero_grad()


def schedule(update: int, updates: int) -> float:
    """Factor of the learning rate: up over the first updates, then down to a tenth in a straight line."""
    return min(1.0, (update + 1) / WARMUP_UPDATES) * (1 - 0.9 * update / updates)


def batch_loss(model: Qwen3ForCausalLM, ids: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood (nats) of the tokens that the policy wrote. In: (B, L), (B, L). Out: ().

    Padding stands on the right, where causal attention does not look; only trained positions reach the head.
    """
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    return F.cross_entropy(model.lm_head(hidden[written[:, 1:]]), ids[:, 1:][written[:, 1:]])


class Run:
    """Weights, optimizers and counts of one run, and its folder of checkpoints."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.folder = options, options.run
        self.folder.mkdir(parents=True, exist_ok=True)
        self.corpus_sha256 = hashlib.sha256(options.corpus.read_bytes()).hexdigest()
        self.tokenizer = self.load_tokenizer()
        self.tokens = tokenise(options.corpus, self.tokenizer, self.folder / f"tokens-{self.corpus_sha256[:12]}.npz")
        self.model = new_model(self.tokenizer, options.seed, options.layers, options.width)
        self.optimizers = Optimizers(self.model, options.learning_rate)
        self.update, self.seen, self.seconds, self.losses = 0, 0, 0.0, []

    def load_tokenizer(self) -> PreTrainedTokenizerFast:
        folder = self.folder / f"tokenizer-{self.corpus_sha256[:12]}"
        if not folder.exists():
            first = (m for _, m in zip(range(TOKENIZER_CONVERSATIONS), conversations(self.options.corpus)))
            texts = (message["content"] for messages in first for message in messages)
            with replace_folder(folder) as made:
                train_tokenizer(texts, self.options.entries).save_pretrained(made)
        return AutoTokenizer.from_pretrained(folder)

    @property
    def identity(self) -> dict:
        """What must be equal for a checkpoint to be of this run."""
        names = ["updates", "seed", "batch_tokens", "learning_rate", "layers", "width", "entries"]
        return {"corpus": self.corpus_sha256, **{name: getattr(self.options, name) for name in names}}

    def checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*.pt"))

    def save(self) -> None:
        """Written whole, then named; the one before it is kept."""
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizers": [part.state_dict() for part in self.optimizers.parts],
            "counts": [self.update, self.seen, self.seconds, self.losses],
        }
        path = self.folder / f"checkpoint-{self.update:07d}.pt"
        torch.save(state, f"{path}.tmp")
        os.replace(f"{path}.tmp", path)
        for old in self.checkpoints()[:-2]:
            old.unlink()

    def resume(self) -> bool:
        """Goes on from the newest checkpoint; False where there is none."""
        if not self.checkpoints():
            return False
        path = self.checkpoints()[-1]
        state = torch.load(path, weights_only=True)
        if state["identity"] != self.identity:
            raise SystemExit(f"{path} belongs to another run ({state['identity']}); give --run another folder")
        self.model.load_state_dict(state["model"])
        for part, own in zip(self.optimizers.parts, state["optimizers"]):
            part.load_state_dict(own)
        self.update, self.seen, self.seconds, self.losses = state["counts"]
        return True

    def train(self, stop: list) -> None:
        """Until the last update, or until something is put into `stop`."""
        o = self.options
        started, saved = time.monotonic() - self.seconds, time.monotonic()
        for rows in batches_from(self.update, self.tokens.lengths, o.batch_tokens, o.seed):
            if self.update >= o.updates or stop:
                break
            ids, written = self.tokens.batch(rows)
            loss = batch_loss(self.model, ids, written)
            if not torch.isfinite(loss):
                raise SystemExit(f"update {self.update}: the loss is {loss.item()}; lower --learning-rate")
            loss.backward()
            self.optimizers.step(schedule(self.update, o.updates))
            self.update += 1
            self.seen += int(self.tokens.lengths[rows].sum())
            self.losses = [*self.losses, loss.item()][-100:]
            self.seconds = time.monotonic() - started
            if self.update % LOG_EVERY == 0 or self.update == o.updates:
                self.report()
            if time.monotonic() - saved > o.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save()

    def report(self) -> None:
        recent = self.losses[-LOG_EVERY:]
        figures = {
            "update": self.update,
            "updates": self.options.updates,
            "loss": round(sum(recent) / len(recent), 4),
            "tokens": self.seen,
            "tokensPerSecond": round(self.seen / self.seconds),
        }
        print(json.dumps(figures), flush=True)

    def export(self, folder: Path) -> None:
        """The model folder: weights, tokenizer, model card."""
        with replace_folder(folder) as made:
            self.model.save_pretrained(made)
            self.tokenizer.save_pretrained(made)
            (made / "README.md").write_text(model_card(self.card()))

    def card(self) -> dict:
        """What the model card says, all of it measured."""
        o = self.options
        trained = self.tokens
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "entries": len(self.tokenizer),
            "layers": o.layers,
            "width": o.width,
            "conversations": len(trained.lengths),
            "corpusTokens": len(trained.ids),
            "corpusSha256": self.corpus_sha256,
            "commit": commit(),
            "seed": o.seed,
            "update": self.update,
            "updates": o.updates,
            "batchTokens": o.batch_tokens,
            "learningRate": o.learning_rate,
            "tokens": self.seen,
            "seconds": round(self.seconds),
            "threads": torch.get_num_threads(),
            "loss": round(sum(self.losses) / max(1, len(self.losses)), 4),
            "torch": torch.__version__,
        }


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trainer.pretrain", description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="JSON lines of conversations")
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoints; a run in it goes on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models" / "tiny", help="model folder")
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=8192, help="of one update, padding included")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192, help="a multiple of 96")
    parser.add_argument("--entries", type=int, default=1000, help="size of the vocabulary")
    parser.add_argument("--checkpoint-seconds", type=float, default=120)
    parser.add_argument("--export-only", action="store_true", help="write the newest checkpoint to --out and stop")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    run = Run(options)
    run.resume()
    if not options.export_only:
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
        run.train(stop)
        if stop:
            raise SystemExit("stopped; the same command goes on")
    run.export(options.out)


if __name__ == "__main__":
    main()
