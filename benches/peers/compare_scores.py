"""Compares probabilities with ours, in millionths, document by document; fails when one is more than 1e-5 away.

    python compare_scores.py DOCUMENTS PROBABILITIES

DOCUMENTS is a Parquet file with a column millionths, PROBABILITIES has one a line for the first of them.
"""

import sys

import pyarrow.parquet

documents, probabilities = sys.argv[1:]
ours = pyarrow.parquet.read_table(documents, columns=["millionths"])["millionths"].to_pylist()
theirs = [float(line) for line in open(probabilities)]
apart = [abs(mine / 1e6 - other) for mine, other in zip(ours, theirs)]
print(f"{len(apart)} probabilities, at most {max(apart):.1e} apart")
sys.exit(max(apart) > 1e-5)
