"""What own_functions.yaml names: a reward, a filter and a stage.

    python -m hone train own_functions.yaml --set rl.model=MODEL        from this folder
"""


def short(prompts, completions, **columns):
    """1 for a completion of at most 6 characters."""
    return [float(len(completion) <= 6) for completion in completions]


def prompts(rows):
    """A stage: the prompts of an rl stage out of nothing but their numbers; a metric."""
    made = [{"prompt": chr(0x4E00 + row["number"]) * 3} for row in rows]
    return made, {"rows/longest": max(len(row["prompt"]) for row in made)}


def not_empty(row):
    """A filter: True keeps the row, a dict takes its place."""
    return row | {"completion": row["completion"].strip()} if row["completion"] else False
