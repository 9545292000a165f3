"""Texts for the network's bench, and a network of random weights.

    python documents.py texts MODEL TOKENS LENGTH OUT     documents of LENGTH words each, TOKENS in all, one a line
    python documents.py model OUT WORDS                   a model folder: embedding 128, 3 x 128 filters, random weights

Words are drawn as text draws them: the word of rank r as often as 1 / (r + 2.7) (Zipf and Mandelbrot; vocabularies list
the frequent words first). Only words of letters are drawn, and one blank stands between them, so cleaning changes
nothing and each word is one token. The same arguments give the same bytes.
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

WIDTHS = (3, 4, 5)
EMBEDDING = FILTERS = 128
random = np.random.default_rng(1)


def texts(model: str, tokens: str, length: str, out: str) -> None:
    words = pathlib.Path(model, "vocabulary.txt").read_text().splitlines()
    plain = [rank for rank, word in enumerate(words) if word.isalpha() and word.islower() and word != "http"]
    edges = np.cumsum(1 / (np.array(plain) + 2.7))
    count, length = int(tokens) // int(length), int(length)
    words = np.array(words, dtype=object)[plain]
    with open(out, "w") as file:
        for start in range(0, count, 10_000):
            rows = min(10_000, count - start)
            drawn = np.searchsorted(edges, random.random((rows, length)) * edges[-1], side="right")
            file.writelines(" ".join(row) + "\n" for row in words[np.minimum(drawn, len(plain) - 1)])


def model(out: str, count: str) -> None:
    words: dict[str, None] = {}
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    while len(words) < int(count):
        words["".join(random.choice(letters, random.integers(2, 10)))] = None
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocabulary.txt").write_text("".join(word + "\n" for word in words))

    def weights(*shape: int, spread: float) -> np.ndarray:
        return random.normal(0, spread, shape).astype(np.float16)

    tensors = {"embedding.weight": weights(len(words), EMBEDDING, spread=0.3)}
    for width in WIDTHS:
        tensors[f"conv{width}.weight"] = weights(FILTERS, EMBEDDING, width, spread=0.1)
        tensors[f"conv{width}.bias"] = weights(FILTERS, spread=0.1)
    tensors["output.weight"] = weights(1, len(WIDTHS) * FILTERS, spread=0.05)
    tensors["output.bias"] = np.zeros(1, np.float16)
    save_file(tensors, folder / "model.safetensors")
    spec = {
        "format": 1,
        "architecture": "text-cnn",
        "vocabulary": len(words),
        "embedding": EMBEDDING,
        "widths": WIDTHS,
        "filters": FILTERS,
        "tokenizer": "plain",
        "max_tokens": 1500,
        "calibration": {"scale": 1.0, "offset": 0.0},
        "training_data": "none",
    }
    (folder / "model.json").write_text(json.dumps(spec, indent=2) + "\n")


{"texts": texts, "model": model}[sys.argv[1]](*sys.argv[2:])
