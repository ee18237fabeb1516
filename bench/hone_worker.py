"""One process of hone.GRPOTrainer for grpo_vs_trl.py: the script of trl_worker.py with other imports, and what hone adds
of its own (the smallest length). Its run, with the seconds of every step, is in OUTPUT/run."""

import argparse
import json
import pathlib
import sys

import python_rewards


def main():
    parser = argparse.ArgumentParser()
    for name in ("package", "model", "data", "output", "reward", "dtype"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("steps", "min-new", "max-new", "samples", "sequences", "micro-batch", "threads", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    sys.path.insert(0, args.package)
    from hone import GRPOConfig, GRPOTrainer

    rows = [json.loads(line) for line in open(args.data)]
    GRPOTrainer(
        model=args.model, reward_funcs=python_rewards.REWARDS[args.reward], train_dataset=rows,
        args=GRPOConfig(
            output_dir=pathlib.Path(args.output) / "run", report_to=[], disable_tqdm=True, use_cpu=True, bf16=args.dtype == "bfloat16",
            gradient_checkpointing=False, per_device_train_batch_size=args.micro_batch,
            gradient_accumulation_steps=args.sequences // args.micro_batch, num_generations=args.samples,
            max_completion_length=args.max_new, min_completion_length=args.min_new, temperature=1.0, beta=0.0,
            num_iterations=1, loss_type="dapo", learning_rate=1e-5, lr_scheduler_type="constant", max_grad_norm=1.0,
            max_steps=args.steps, seed=args.seed, threads=args.threads)).train()


if __name__ == "__main__":
    main()
