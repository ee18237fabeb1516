"""A new loss in five lines: GRPO whose clip is a tanh.    python python/examples/new_loss.py MODEL [OUTPUT_DIR]"""
import sys

import hone


def tanh_clip(policy_logprobs, sampler_logprobs, advantages, weights, **kwargs):
    log_ratio = policy_logprobs - sampler_logprobs
    return -(weights * advantages * (0.2 * (log_ratio / 0.2).tanh()).exp()).sum()


trainer = hone.GRPOTrainer(
    model=sys.argv[1], reward_funcs=lambda completions, **kwargs: [float("丂" in c) for c in completions], loss_func=tanh_clip,
    args=hone.GRPOConfig(output_dir=sys.argv[2] if len(sys.argv) > 2 else "runs/tanh", max_steps=6, num_iterations=2,
                         prompts_per_step=4, num_generations=8, max_completion_length=8, learning_rate=3e-3),
    train_dataset=[{"prompt": chr(0x4E00 + i)} for i in range(2, 20)])
print(trainer.train())
