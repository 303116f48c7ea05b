#!/usr/bin/env python3
"""Drain3 on the file that `bench_mining --out FILE` wrote, for comparison: compare_drain3.py FILE [LINES]

Its settings are those of its own documentation (similarity 0.4, depth 4, 100 children), with the masks of its example configuration.
Once with one miner over all programs, which sees `program: message`, and once with one miner for each program, as ours has.
"""
import collections
import sys
import time

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

MASKS = [
    (r"((?<=[^A-Za-z0-9])|^)(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))((?=[^A-Za-z0-9])|$)", "ID"),
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9A-F]{4} ?){4,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
    (r"(?<=executed cmd )(\".+?\")", "CMD"),
]


def miner():
    config = TemplateMinerConfig()
    config.masking_instructions = [MaskingInstruction(pattern, name) for pattern, name in MASKS]
    return TemplateMiner(config=config)


def accuracy(pairs):
    truth, found, both = collections.Counter(), collections.Counter(), collections.Counter()
    for pair in pairs:
        truth[pair[0]] += 1
        found[pair[1]] += 1
        both[pair] += 1
    return sum(n for (t, f), n in both.items() if truth[t] == n == found[f]) / len(pairs)


def measure(name, lines, per_program):
    miners = {}
    pairs = []
    begin = time.process_time()
    for form, program, kind, message in lines:
        key = program if per_program else ""
        if key not in miners:
            miners[key] = miner()
        text = f"{kind} {message}" if kind else message
        result = miners[key].add_log_message(text if per_program else f"{program}: {text}")
        pairs.append((form, (key, result["cluster_id"])))
    took = time.process_time() - begin
    clusters = len({pair[1] for pair in pairs})
    print(f"drain3 {name} lines_per_second={len(lines) / took:.0f} accuracy={accuracy(pairs):.4f} templates={clusters}")
    return len(lines) / took


def main():
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    lines = [line.rstrip("\n").split("\t", 3) for line in open(sys.argv[1])][:most]
    measure("one", lines, False)
    measure("per_program", lines, True)


main()
