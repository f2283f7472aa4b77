#!/usr/bin/env python3
"""Makes src/format/quant_grids.h: the codebooks of the weight types IQ1, IQ2 and IQ3, which their formats define by
listing them. Taken from the gguf package's dequantisers; a value is stored as its index in the codebook's short list
of magnitudes, 2 or 3 bits each, the first value lowest."""

import argparse
import importlib.metadata

import gguf
import numpy as np

import common

# Our name, the class that has it, its magnitudes, bits of an index.
IQ2 = (8, 25, 43)
GRIDS = (
    ("iq2_xxs", gguf.quants.IQ2_XXS, IQ2, 2),
    ("iq2_xs", gguf.quants.IQ2_XS, IQ2, 2),
    ("iq2_s", gguf.quants.IQ2_S, IQ2, 2),
    ("iq1", gguf.quants.IQ1_S, (-1, 0, 1), 2),
    ("iq3_xxs", gguf.quants.IQ3_XXS, (4, 12, 20, 28, 36, 44, 52, 62), 3),
    ("iq3_s", gguf.quants.IQ3_S, (1, 3, 5, 7, 9, 11, 13, 15), 3),
)


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    version = importlib.metadata.version("gguf")
    text = (f"/* Codebooks of the IQ types: made by tools/golden/grids.py from gguf {version}; do not edit. An entry has "
            "8 values of 2\n * bits, or 4 of 3 bits (iq3), each an index; quant_codes.c says into what. */\n"
            "#ifndef EL_FORMAT_QUANT_GRIDS_H\n#define EL_FORMAT_QUANT_GRIDS_H\n\n#include <stdint.h>\n\n"
            "/* clang-format off */\n")
    for name, cls, magnitudes, bits in GRIDS:
        cls.init_grid()
        grid = cls.grid.reshape(-1, cls.grid_shape[1])
        index = np.array([[magnitudes.index(int(v)) for v in row] for row in grid], dtype=np.uint32)
        packed = (index << (np.arange(index.shape[1], dtype=np.uint32) * bits)).sum(axis=1)
        assert len(packed) == len(set(packed.tolist())) and packed.max() < 65536
        text += f"static const uint16_t el_grid_{name}[{len(packed)}] = {{\n"
        for i in range(0, len(packed), 16):
            text += "  " + ", ".join(f"0x{v:04x}" for v in packed[i : i + 16]) + ",\n"
        text += "};\n\n"
    text += "/* clang-format on */\n\n#endif\n"
    path = common.ROOT / "src" / "format" / "quant_grids.h"
    path.write_text(text)
    print(f"{path.relative_to(common.ROOT)}: {len(text)} bytes")


if __name__ == "__main__":
    main()
