"""Runs a test script with the Python that has the peers (transformers, tokenizers, ..): .venv-peers, which `make test`
makes. Exit 77, which ctest reports as skipped, when it is not there.

    python3 tests/python/with_peers.py SCRIPT [ARGS..]
"""

import os
import pathlib
import sys

peers = pathlib.Path(__file__).resolve().parents[2] / ".venv-peers" / "bin" / "python"
if not peers.exists():
    print(f"skipped: {peers} is not there; `make peers` installs the pinned transformers, tokenizers and torch into it")
    sys.exit(77)
os.environ["HF_HUB_OFFLINE"] = "1"
# one thread: MKL's first cos on two at once can be wrong by 1e-4 (pytorch issue 188792), which is seen as a wrong logit
os.environ["OMP_NUM_THREADS"] = "1"
os.execv(peers, [str(peers), *sys.argv[1:]])
