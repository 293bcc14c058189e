#!/usr/bin/env python3
"""The tokeniser against tiktoken (pip install tiktoken): the ids that abl-run cached for a folder of texts.

    tests/peers/tokenizer.py DATA_FOLDER VOCAB_BPE CACHE_FOLDER

Run abl-run on the folder first; CACHE_FOLDER is $XDG_CACHE_HOME/attnc or ~/.cache/attnc.
"""
import glob
import struct
import sys
import time

import numpy as np
import tiktoken

data, merges_path, cache = sys.argv[1:4]
VOCABULARY = 32000


def byte_characters():
    """GPT-2's printable stand-in for each byte, in the order of ids."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {**{chr(b): b for b in keep}, **{chr(256 + i): b for i, b in enumerate(rest)}}, keep + rest


stand_in, order = byte_characters()
ranks = {bytes([b]): i for i, b in enumerate(order)}
for line in open(merges_path, encoding="utf-8").read().splitlines()[1:]:
    if len(ranks) == VOCABULARY - 1:
        break
    left, right = line.split(" ")
    ranks[bytes(stand_in[c] for c in left + right)] = len(ranks)
pattern = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
reference = tiktoken.Encoding("prefix", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": VOCABULARY - 1})


def articles(text):
    start = 0
    parts = []
    at = 0
    for line in text.splitlines(keepends=True) if "\r" not in text else text.split("\n"):
        if len(line.encode()) > 6 and line.startswith(" = ") and line[3] != "=" and at > start:
            parts.append(text[start:at])
            start = at
        at += len(line)
    parts.append(text[start:])
    return parts


wrong = 0
cached = {}
for path in glob.glob(cache + "/*.ids"):
    raw = open(path, "rb").read()
    magic, version, vocabulary, digest, count = struct.unpack("<8sIIQQ", raw[:32])
    if vocabulary == VOCABULARY:
        cached[count] = np.frombuffer(raw[32:], "<u2").astype(np.int64)
for name in ("train.txt", "valid.txt", "test.txt"):
    text = open(f"{data}/{name}", "rb").read().decode("utf-8")
    start = time.time()
    ids = []
    for part in articles(text):
        ids += reference.encode(part, disallowed_special=()) + [VOCABULARY - 1]
    seconds = time.time() - start
    same = len(ids) in cached and np.array_equal(cached[len(ids)], np.array(ids))
    wrong += not same
    print(f"{name}: {len(ids)} ids, {'identical' if same else 'DIFFERENT'}; tiktoken {len(text) / seconds / 1e6:.1f} MB/s")
sys.exit(wrong != 0)
