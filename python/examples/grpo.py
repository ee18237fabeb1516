"""GRPO with a reward in Python, as a TRL script has it.    python python/examples/grpo.py MODEL [OUTPUT_DIR]"""
import sys

from hone import GRPOConfig, GRPOTrainer

dataset = [{"prompt": chr(0x4E00 + i) * 4, "wanted": chr(0x4E00 + i)} for i in range(2, 34)]


def repeats(prompts, completions, wanted, **kwargs):
    """The share of a completion's characters that are the prompt's."""
    return [completion.count(w) / max(1, len(completion)) for completion, w in zip(completions, wanted)]


trainer = GRPOTrainer(
    model=sys.argv[1],
    reward_funcs=repeats,
    args=GRPOConfig(output_dir=sys.argv[2] if len(sys.argv) > 2 else "runs/repeats", learning_rate=3e-3, max_steps=20,
                    prompts_per_step=8, num_generations=8, max_completion_length=12),
    train_dataset=dataset,
)
trainer.train()
print("reward of the first and the last step:", *(trainer.state.log_history[i]["reward"] for i in (0, -2)))
print(trainer.model.generate(["丂丂丂丂"], 2, max_completion_length=12))
