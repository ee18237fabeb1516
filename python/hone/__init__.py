"""RL post-training of language models (R1-Zero, R1) on hone's C++ core.

    trainer = hone.GRPOTrainer(model="path/to/model", reward_funcs=[brevity], args=hone.GRPOConfig(max_steps=40),
                               train_dataset=[{"prompt": "7 3 12:33\\n"}, ..])
    trainer.train()

Trainers take TRL's names (docs/trl_fields.md) and run the loop of `hone train`, run directory and store included. The
parts to script with: Model, score, rewards, losses, advantages, Sandbox, load_run. Kernels run on one thread until
set_threads says otherwise; trainers use all cores.
"""

import torch as _torch  # before _C, which needs its libraries

try:
    from . import _C
except ImportError as error:
    raise ImportError(
        f"hone._C cannot be loaded with torch {_torch.__version__}: {error}. The module works with the torch it was built "
        "for: build it again in this environment with `pip install --no-build-isolation .`") from error
if _torch.__version__.split(".")[:2] != _C.torch_version.split(".")[:2]:
    raise ImportError(f"hone was built for torch {_C.torch_version} and this is {_torch.__version__}; build it again in this "
                      "environment with `pip install --no-build-isolation .`")

from . import advantages, losses, rewards
from ._C import (FinishReason, Group, Limits, Model, NamedReward, Prompt, Reward, RewardPart, Rollout, SandboxResult, Score,
                 Verdict, __version__, eval_metrics, pass_at_k, reward_metrics, sandbox_capabilities, set_threads)
from ._config import GRPOConfig, SFTConfig
from ._run import Run, load_run, verl_metrics
from ._trainer import GRPOTrainer, RewardError, SFTTrainer, TrainOutput
from .rewards import score
from .sandbox import Sandbox

__all__ = ["FinishReason", "GRPOConfig", "GRPOTrainer", "Group", "Limits", "Model", "NamedReward", "Prompt", "Reward",
           "RewardError", "RewardPart", "Rollout", "Run", "SFTConfig", "SFTTrainer", "Sandbox", "SandboxResult", "Score",
           "TrainOutput", "Verdict", "advantages", "eval_metrics", "load_run", "losses", "pass_at_k", "reward_metrics",
           "rewards", "sandbox_capabilities", "score", "set_threads", "verl_metrics"]
