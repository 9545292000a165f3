"""The reputation network in ONNX Runtime, made from a model folder.

    python cnn_onnx.py MODEL TEXTS OUT [--threads 2] [--batch 64] [--form conv|matmul|tables] [--most-tokens N]

TEXTS holds cleaned texts, one a line, or is a Parquet file with clean_body and clean_link_desc. Writes a probability a
line to OUT and prints the tokens a second of the network alone: the texts are tokenized before the clock starts.
Documents of equal length go together, so nothing is padded but documents shorter than the widest window, as the network
asks for. Warmed up by one batch of each length.

Three ways to say the same network:
  conv    convolutions over word vectors, as training frameworks export it
  matmul  windows of word vectors laid side by side, times the filters: what ONNX Runtime does faster
  tables  products of words and filters computed beforehand, as graph-recs does: look-ups, additions, maxima
"""

import argparse
import itertools
import json
import pathlib
import re
import resource
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("texts")
parser.add_argument("out")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--form", choices=["conv", "matmul", "tables"], default="conv")
parser.add_argument("--most-tokens", type=int, default=2_000_000)
options = parser.parse_args()

spec = json.loads((options.model / "model.json").read_text())
weights = {name: tensor.astype(np.float32) for name, tensor in load_file(options.model / "model.safetensors").items()}
vocabulary = {word: id for id, word in enumerate((options.model / "vocabulary.txt").read_bytes().decode().split("\n")[:-1])}
PADDING = len(vocabulary)


def graph() -> bytes:
    """The network: token ids (documents x tokens) to probabilities."""
    nodes, constants = [], []
    unnamed = itertools.count()

    def constant(value: np.ndarray) -> str:
        name = f"constant{next(unnamed)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, *inputs: str, **attributes: object) -> str:
        name = f"value{next(unnamed)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def part(value: str, axis: int, start: int, end: int) -> str:
        bounds = [constant(np.array([number], np.int64)) for number in (start, end, axis)]
        return node("Slice", value, *bounds)

    def windows(value: str, width: int, offset: int) -> str:
        """The tokens at `offset` of each window of `width`."""
        return part(value, 1, offset, np.iinfo(np.int64).max if offset == width - 1 else offset - width + 1)

    padded = np.vstack([weights["embedding.weight"], np.zeros((1, spec["embedding"]), np.float32)])
    filters = {width: weights[f"conv{width}.weight"] for width in spec["widths"]}
    time_axis = constant(np.array([2 if options.form == "conv" else 1], np.int64))
    if options.form == "tables":
        # A table per width: for each word its product with each offset of each filter.
        table = {w: np.einsum("ve,few->vwf", padded, taps).reshape(len(padded), -1) for w, taps in filters.items()}
    else:
        vectors = node("Gather", constant(padded), "tokens")
    if options.form == "conv":
        vectors = node("Transpose", vectors, perm=[0, 2, 1])
    maxima = []
    for width, taps in filters.items():
        bias = constant(weights[f"conv{width}.bias"])
        if options.form == "conv":
            sums = node("Conv", vectors, constant(taps), bias)
        elif options.form == "matmul":
            side_by_side = node("Concat", *[windows(vectors, width, offset) for offset in range(width)], axis=2)
            sums = node("MatMul", side_by_side, constant(taps.transpose(2, 1, 0).reshape(-1, len(taps))))
        else:
            products = node("Gather", constant(table[width]), "tokens")
            count = len(taps)
            parts = [windows(part(products, 2, at * count, (at + 1) * count), width, at) for at in range(width)]
            sums = parts[0]
            for term in parts[1:]:
                sums = node("Add", sums, term)
        most = node("ReduceMax", sums, time_axis, keepdims=0)
        maxima.append(node("Relu", most if options.form == "conv" else node("Add", most, bias)))
    joined = node("Concat", *maxima, axis=1)
    logits = node("Gemm", joined, constant(weights["output.weight"]), constant(weights["output.bias"]), transB=1)
    calibration = [constant(np.float32(spec["calibration"][name])) for name in ("scale", "offset")]
    scaled = node("Add", node("Mul", logits, calibration[0]), calibration[1])
    nodes.append(helper.make_node("Sigmoid", [scaled], ["probabilities"]))
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["documents", "tokens"])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["documents", 1])
    network = helper.make_graph(nodes, "text-cnn", [tokens], [probabilities], constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(network, opset_imports=opset, ir_version=10).SerializeToString()


SPACE = "[ \t-\r\x1c-\x1f]"


def words(text: str) -> list[str]:
    return [word for word in re.split(f"{SPACE}+", text) if word]


def marked(text: str) -> list[str]:
    """Words, and the white space between them that is not a single blank."""
    runs = (found.group() for found in re.finditer(f"{SPACE}+|[^ \t-\r\x1c-\x1f]+", text))
    return [f"_{min(len(run), 3)}" if re.match(SPACE, run) else run for run in runs if run != " "]


def tokenized(body: str, description: str) -> list[int]:
    if spec["tokenizer"] == "marked":
        tokens = marked(body) + ["d:" + word for word in marked(description)]
    else:
        tokens = words(body) + words(description)
    tokens = [token for token in tokens if token in vocabulary]
    if all(re.search("_[123]$", token) for token in tokens):
        return []
    return [vocabulary[token] for token in tokens][-spec["max_tokens"] :]


def documents() -> tuple[list[list[int]], int]:
    """The tokens of each document, and how many characters they were made from."""
    if options.texts.endswith(".parquet"):
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(options.texts, columns=["clean_body", "clean_link_desc"])
        pairs = zip(*(column.to_pylist() for column in table.columns))
    else:
        pairs = ((line.rstrip("\n"), "") for line in open(options.texts, newline="\n"))
    found, count, characters = [], 0, 0
    for body, description in pairs:
        found.append(tokenized(body or "", description or ""))
        count += len(found[-1])
        characters += len(body or "") + len(description or "")
        if count >= options.most_tokens:
            break
    return found, characters


settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = options.threads
settings.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(graph(), settings, providers=["CPUExecutionProvider"])
tokens, characters = documents()
least = max(spec["widths"])
order = sorted((index for index, document in enumerate(tokens) if document), key=lambda index: len(tokens[index]))
batches = []
for _, group in itertools.groupby(order, key=lambda index: max(len(tokens[index]), least)):
    group = list(group)
    for start in range(0, len(group), options.batch):
        indices = group[start : start + options.batch]
        rows = [tokens[index] + [PADDING] * (least - len(tokens[index])) for index in indices]
        batches.append((indices, np.array(rows, np.int64)))

for _, ids in {ids.shape[1]: (0, ids) for _, ids in batches}.values():
    session.run(None, {"tokens": ids})
probabilities = np.zeros(len(tokens))
started = time.perf_counter()
for indices, ids in batches:
    probabilities[indices] = session.run(None, {"tokens": ids})[0][:, 0]
seconds = time.perf_counter() - started
with open(options.out, "w") as file:
    file.writelines(f"{probability:.7f}\n" for probability in probabilities)
count = sum(map(len, tokens))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"engine": f"onnxruntime {onnxruntime.__version__} {options.form}", "documents": len(tokens), "characters": characters, "tokens": count, "seconds": seconds, "tokens_a_second": count / seconds, "peak_mib": peak}))
