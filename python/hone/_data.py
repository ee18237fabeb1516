"""Data sets: a list of dicts, a JSONL or Parquet file, or a datasets.Dataset, as rows of hone's JSONL."""

import json
import pathlib


def load_rows(dataset, name):
    """The rows as a list of dicts. Raises ValueError or TypeError naming the argument."""
    if isinstance(dataset, (str, pathlib.Path)):
        return _load_file(pathlib.Path(dataset), name)
    if isinstance(dataset, dict) or (hasattr(dataset, "keys") and not hasattr(dataset, "column_names")):
        raise TypeError(f"{name} is a mapping of splits; give one of them, e.g. dataset['train']")
    if hasattr(dataset, "to_list"):
        dataset = dataset.to_list()
    try:
        rows = list(dataset)
    except TypeError:
        raise TypeError(f"{name} is {type(dataset).__name__}; give a list of dicts, a .jsonl or .parquet file, or a "
                        "datasets.Dataset") from None
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise TypeError(f"{name}[{i}] is {row!r}; every row is a dict of columns")
    if not rows:
        raise ValueError(f"{name} holds no row; give at least one")
    return rows


def _load_file(path, name):
    if not path.is_file():
        raise FileNotFoundError(f"{name}: {path} is no file; give a .jsonl or .parquet file, or load a data set of the Hub with "
                                "datasets.load_dataset")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(f"{name}: a Parquet file needs pyarrow; pip install pyarrow, or give JSONL") from error
        return pyarrow.parquet.read_table(path).to_pylist()
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not valid JSON ({error}); write one JSON object a line") from error
    return load_rows(rows, name)


def _plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def write_rows(rows, path, name):
    """Writes the rows as JSONL, unless the file says the same already."""
    lines = []
    for i, row in enumerate(rows):
        try:
            lines.append(json.dumps(row, default=_plain, ensure_ascii=False, allow_nan=False) + "\n")
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}[{i}]: {error}; columns are texts, numbers, lists and dicts of them") from error
    text = "".join(lines)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def prompt_rows(rows, name):
    """Rows of an rl stage. `id` is hone's own key."""
    for i, row in enumerate(rows):
        if row.get("prompt") is None and row.get("prompt_ids") is None:
            raise ValueError(f"{name}[{i}] has the columns {', '.join(row)}; a row needs 'prompt', a text or chat messages")
    return [{key: value for key, value in row.items() if key != "id"} for row in rows]


def document_rows(rows, text_field, name):
    """Rows of an sft stage: messages, prompt + completion (texts or chat messages), token ids, or text."""
    return [_document(row, text_field, f"{name}[{i}]") for i, row in enumerate(rows)]


def _document(row, text_field, place):
    for keys in (["messages"], ["prompt", "completion"], ["prompt_ids", "completion_ids"]):
        if all(row.get(key) is not None for key in keys):
            return {key: row[key] for key in keys}
    if row.get("completion_ids") is not None:
        return {"prompt_ids": [], "completion_ids": row["completion_ids"]}
    if row.get(text_field) is not None:
        return {"text": row[text_field]}
    raise ValueError(f"{place} has the columns {', '.join(row)}; a row needs prompt + completion, messages, or {text_field}")
