"""Writes unicode_ranges.rs: the non-ASCII characters that `\\w` of Python's `re` matches.

Run with the CPython that the reference cleaning runs on:  python3.11 unicode_ranges.py > unicode_ranges.rs
"""

import re
import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)


def word_ranges():
    word = re.compile(r"\w")
    first = last = None
    for code in range(0x80, 0x110000):
        if code in SURROGATES or not word.match(chr(code)):
            continue
        if last is not None and code == last + 1:
            last = code
            continue
        if first is not None:
            yield first, last
        first = last = code
    yield first, last


ranges = list(word_ranges())
version = ".".join(map(str, sys.version_info[:2]))
print(f"""//! Written by `unicode_ranges.py` with CPython {version}, Unicode {unicodedata.unidata_version}. Do not edit.

/// Inclusive ranges of the non-ASCII characters that Python's `\\w` matches: letters and numbers, ascending.
#[rustfmt::skip]
pub(super) const WORD: [(u32, u32); {len(ranges)}] = [""")
for start in range(0, len(ranges), 5):
    print("    " + " ".join(f"(0x{a:X}, 0x{b:X})," for a, b in ranges[start : start + 5]))
print("];")
