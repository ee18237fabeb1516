"""The rewards of grpo_vs_trl.py as Python functions, for TRL and for hone's own GRPOTrainer."""


def reward_choice(completions, **_):
    return [float("<answer>A</answer>" in text) for text in completions]


def reward_repetition(completions, **_):
    return [-repeated_share(text.lower().split()) for text in completions]


def repeated_share(words, n=3):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


REWARDS = {"choice": reward_choice, "repetition_penalty": reward_repetition}
