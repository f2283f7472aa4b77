#!/usr/bin/env python3
"""Reads the keys of a GGUF file; copies one with another pre-tokenizer named in it (tokenizer.ggml.pre), all else as it is.

Needs nothing but Python, so that tests can make such models from the default one.
"""

import argparse
import shutil
import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def string_at(data, at):
    (n,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + n], at + 8 + n


def skip_value(data, at, kind):
    if kind == STRING:
        return string_at(data, at)[1]
    if kind == ARRAY:
        inner, n = struct.unpack_from("<IQ", data, at)
        at += 12
        if inner != STRING:
            return at + n * SIZES[inner]
        for _ in range(n):
            at += 8 + struct.unpack_from("<Q", data, at)[0]
        return at
    return at + SIZES[kind]


FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def value_at(data, at, kind):
    """The value and where it ends; strings that are not UTF-8 with replacement characters."""
    if kind == STRING:
        text, at = string_at(data, at)
        return text.decode("utf-8", "replace"), at
    if kind != ARRAY:
        return struct.unpack_from("<" + FORMATS[kind], data, at)[0], at + SIZES[kind]
    inner, n = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner != STRING:
        return list(struct.unpack_from(f"<{n}{FORMATS[inner]}", data, at)), at + n * SIZES[inner]
    items = []
    for _ in range(n):
        item, at = value_at(data, at, STRING)
        items.append(item)
    return items, at


def read_keys(source):
    """All keys and values of a GGUF file."""
    with open(source, "rb") as f:
        data = f.read(64 << 20)
    _, _, _, n_kv = struct.unpack_from("<4sIQQ", data)
    keys, at = {}, 24
    for _ in range(n_kv):
        key, at = string_at(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        keys[key.decode()], at = value_at(data, at + 4, kind)
    return keys


def write_with_pre(source, target, pre):
    """Writes target: source with tokenizer.ggml.pre = pre. The header may change its length, the tensor data moves with it."""
    with open(source, "rb") as f:
        data = f.read(64 << 20)
        magic, version, n_tensors, n_kv = struct.unpack_from("<4sIQQ", data)
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"{source} is not a GGUF file")
        at, alignment, change = 24, 32, None
        for _ in range(n_kv):
            key, at = string_at(data, at)
            (kind,) = struct.unpack_from("<I", data, at)
            begin = at + 4
            at = skip_value(data, begin, kind)
            if key == b"general.alignment":
                (alignment,) = struct.unpack_from("<I", data, begin)
            if key == b"tokenizer.ggml.pre":
                change = (begin, at)
        if change is None:
            raise ValueError(f"{source} names no pre-tokenizer")
        for _ in range(n_tensors):
            _, at = string_at(data, at)
            (dimensions,) = struct.unpack_from("<I", data, at)
            at += 4 + 8 * dimensions + 4 + 8
        header = data[: change[0]] + struct.pack("<Q", len(pre)) + pre.encode() + data[change[1] : at]
        with open(target, "wb") as out:
            out.write(header + b"\0" * (-len(header) % alignment))
            f.seek(at + -at % alignment)
            shutil.copyfileobj(f, out, 1 << 20)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source")
    p.add_argument("target")
    p.add_argument("pre", help="such as gpt-2, llama-bpe, qwen2, smollm")
    a = p.parse_args()
    write_with_pre(a.source, a.target, a.pre)


if __name__ == "__main__":
    main()
