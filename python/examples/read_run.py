"""A run in pandas: its curve and the prompts that it learnt best.    python python/examples/read_run.py RUN [CURVE.png]"""
import sys

import hone

run = hone.load_run(sys.argv[1])
metrics = run.metrics.set_index("step")
print(metrics[["reward", "loss", "completions/mean_length"]].describe())
rollouts = run.rollouts.merge(run.prompts[["stage", "id", "text"]], left_on=["stage", "prompt_id"], right_on=["stage", "id"],
                              suffixes=("", "_prompt"))
print(rollouts.groupby("text_prompt")["reward"].mean().nlargest(5))
print(run.to_arrow("rollouts").schema)
try:
    import matplotlib.pyplot as plt
except ImportError:
    print("no matplotlib: no picture")
else:
    metrics["reward"].plot(ylabel="reward").figure.savefig(sys.argv[2] if len(sys.argv) > 2 else "reward.png")
    plt.close()
