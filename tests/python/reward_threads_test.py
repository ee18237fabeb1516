"""Eight reward threads that call Python, for 1,000 steps: no deadlock, no leak. First hone.score's threads, which call
from C++, then a training whose rewards run in eight threads of Python.

    .venv-peers/bin/python tests/python/reward_threads_test.py build/release/hone [STEPS]
"""
import faulthandler
import pathlib
import sys
import tempfile

from hone_package import tiny_model

import hone

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000


def resident_mib():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def check_flat(what, seen):
    """Over the second half of the steps."""
    growth = seen[-1] / seen[len(seen) // 2] - 1
    print(f"{what}: {seen[0]:.0f} MiB at first, {seen[len(seen) // 2]:.0f} in the middle, {seen[-1]:.0f} at the end: {growth:+.2%}")
    assert growth <= 0.02, "memory grows"


def scores():
    def reward(completions, answer, **kwargs):
        return [float(c == a) for c, a in zip(completions, answer)]
    texts, seen = [str(i) for i in range(64)], []
    for step in range(STEPS):
        got = hone.score(reward, texts, answer=texts, threads=8)
        assert all(r.total == 1 for r in got)
        seen.append(resident_mib())
    check_flat(f"{STEPS} x score with 8 threads", seen)


def training(folder):
    calls, seen = [0], []

    def reward(completions, **kwargs):
        calls[0] += 1
        return [len(set(c)) / 8 for c in completions]

    class Watch:
        def on_log(self, *args, **kwargs):
            seen.append(resident_mib())
    args = hone.GRPOConfig(str(folder / "run"), max_steps=STEPS, prompts_per_step=8, num_generations=2, max_completion_length=4,
                           learning_rate=1e-4, reward_threads=8, disable_tqdm=True)
    hone.GRPOTrainer(str(tiny_model(folder / "model")), reward, args, [{"prompt": chr(0x4E00 + i)} for i in range(2, 90)],
                     callbacks=[Watch()]).train()
    assert calls[0] == 8 * STEPS, calls
    check_flat(f"{STEPS} steps with 8 reward threads", seen)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(600, exit=True)  # a deadlock ends the test, with every thread's place
    scores()
    with tempfile.TemporaryDirectory() as folder:
        training(pathlib.Path(folder))
