"""The map's shards are those that earlier versions wrote, to the bit."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from landscape import Landscape

# SHA-256, first 16 digits, of each shard of the landscape's map, made with commit 7b48c9d on a
# processor with AVX2: others add up a convolution in another order. One with AVX-512 can do as one
# without, in a process that is told so from its start.
AS_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
RUN = "import sys, rsscale; rsscale.run(*sys.argv[1:], threads=2, device='cpu')"
SHARDS = {
    "classification": {
        "0/0/1": "2809103fa74e90e6",
        "0/0/2": "112f68e49e9c0a8f",
        "0/1/0": "f0a2f75cc3c92b1d",
        "0/1/1": "9cabd90541d20177",
        "0/1/2": "6f8f7d3fd9b37fd1",
        "0/1/3": "bbef317c2d111021",
        "0/2/0": "236cb8459c196ab8",
        "0/2/1": "dd01a3cb150b3590",
        "0/2/2": "4edbabfd4f3e6b0f",
    },
    "confidence": {
        "0/0/1": "8f800a75bf135829",
        "0/0/2": "36b20d31a3b4de70",
        "0/1/0": "2b29cfec8b386fba",
        "0/1/1": "685e9a91230342ec",
        "0/1/2": "12bb5fef2ae02045",
        "0/1/3": "bbef317c2d111021",
        "0/2/0": "92e779f411653946",
        "0/2/1": "7cc81f7c82fb5816",
        "0/2/2": "409881ba96bdaacc",
    },
    "observations": {
        "0/0/1": "59e59dbcb16dc7b8",
        "0/0/2": "dc8413145729503e",
        "0/1/0": "9acf92c090a8ba92",
        "0/1/1": "d4401c9a293964d4",
        "0/1/2": "6fd42910d0c98e21",
        "0/1/3": "0cfb42571bfd0c2d",
        "0/2/0": "c7cdee0b99b45951",
        "0/2/1": "d4811379d6a2c460",
        "0/2/2": "68a57fbf544d318d",
    },
    "probability": {
        "0/0/0/1": "3c71583e9fad492c",
        "0/0/0/2": "66f09c0e20a2a29f",
        "0/0/1/0": "20a6ff2f6000534d",
        "0/0/1/1": "6980da4527f03f5b",
        "0/0/1/2": "9ba3a00995601cb5",
        "0/0/1/3": "c4bd47b082a2b9ce",
        "0/0/2/0": "9a64341b1ff00d9e",
        "0/0/2/1": "7bd27b31f57b18dd",
        "0/0/2/2": "f13c835f657c701e",
    },
}


@pytest.mark.slow
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="the shards were made with AVX2, and other processors round otherwise",
)
def test_shards_are_those_of_an_earlier_version(landscape: Landscape, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(landscape.recipe(output={"layers": list(SHARDS)})))
    command = [sys.executable, "-c", RUN, str(recipe), str(tmp_path / "run")]
    subprocess.run(command, check=True, env=os.environ | AS_AVX2)
    for layer, digests in SHARDS.items():
        root = tmp_path / "run" / "product.zarr" / layer / "c"
        shards = sorted(path for path in root.rglob("*") if path.is_file())
        found = {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in shards
        }
        assert found == digests, layer
