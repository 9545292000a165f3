"""Reputation scores for everyone in a user.csv, drawn evenly from 0 to 1: half of them may be recommended.

    python scores.py USERS OUT
"""

import csv
import random
import sys

users, out = sys.argv[1:]
random.seed(1)
with open(users, newline="") as source, open(out, "w") as file:
    file.write("user_id,pred\n")
    file.writelines(f"{row[0]},{random.randrange(1_000_001) / 1e6:.6f}\n" for row in csv.reader(source))
