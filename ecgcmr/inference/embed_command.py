"""``ecgcmr embed FILES|DIR|ROOT --model DIR --out FILE.parquet``: one row for each recording."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ecgcmr.inference.many_files import add_shared_arguments, open_model, progress, worker_count

HELP = """\
Write the embeddings of ECG files, or of a cohort of 'ecgcmr prepare', as Parquet: columns file, recording, embedding
(fixed-size list of float32), quality (0 to 1) and in_distribution; of a cohort also subject and split.

  ecgcmr embed ecg.xml other.dcm --model models/demo --out embeddings.parquet
  ecgcmr embed clinic/ --model models/demo --out embeddings.parquet      # all ECGs in a folder and below
  ecgcmr embed data/demo --model models/demo --out embeddings.parquet    # a prepared cohort

Read them with pandas: numpy.stack(pandas.read_parquet("embeddings.parquet").embedding).
The same command goes on where it was interrupted; rows of unchanged files are never computed twice.
What was refused or could not be read stands in FILE.summary.json.
Exit code 0: all files were read; 3: some could not be; 2: the command cannot be carried out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILES", help="ECG files, folders that hold some, or a prepared cohort"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="Parquet file to write")
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 3 if a file could not be read."""
    from ecgcmr.errors import UserError
    from ecgcmr.files import write_atomically
    from ecgcmr.inference.answers import Answers
    from ecgcmr.inference.embed_files import embed_cohort, embed_files
    from ecgcmr.inference.input_files import find_input_files
    from ecgcmr.locks import FolderLock
    from ecgcmr.shards.index import INDEX_NAME, ShardIndex
    from ecgcmr.text import printable

    out: Path = args.out
    if out.suffix != ".parquet":
        raise UserError(f"--out {out}: name a file that ends in .parquet")
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file")
    workers = worker_count(args.workers)
    roots = [path for path in args.files if (path / INDEX_NAME).is_file()]
    if roots and len(args.files) > 1:
        raise UserError(f"{roots[0]}: is a prepared cohort; name it alone")
    found = None if roots else find_input_files(args.files)
    index = ShardIndex.load(roots[0]) if roots else None
    total = int(index.counts["with_ecg"]) if index is not None else len(found.files) if found is not None else 0
    answers = Answers(open_model(args))
    with FolderLock(out.absolute().parent, "embed"), progress("embedding", total) as advance:
        if index is not None:
            summary = embed_cohort(answers, index, out, overwrite=args.overwrite, advance=advance)
        elif found is not None:
            summary = embed_files(
                answers, found, out, workers=workers, overwrite=args.overwrite, advance=advance
            )  # fmt: skip
        description = answers.model.description
        about = {"name": description.name, "code_version": description.code_version, "sha256": description.sha256}
        skipped = [{"file": name, "reason": reason} for name, reason in summary["skipped"]]
        content = json.dumps({**summary, "skipped": skipped, "model": about}, indent=1, ensure_ascii=False)
        write_atomically(out.with_suffix(".summary.json"), f"{content}\n".encode("utf-8", "backslashreplace"))
    for problem in summary["failed"]:
        print(f"failed: {printable(problem['file'])}: {printable(problem['reason'])}")
    failed, refused = len(summary["failed"]), len(summary["refused"])
    print(f"{summary['rows']} embeddings in {printable(out)}; {refused} files refused, {failed} not read")
    return 3 if failed else 0
