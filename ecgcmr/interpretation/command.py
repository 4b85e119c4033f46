"""``ecgcmr explain``: what a trained model looks at, finds alike and keeps apart."""

from __future__ import annotations

import argparse
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.interpretation.kinds import FEWEST_SUBJECTS, KINDS, WRITES
from ecgcmr.option_checks import check_choice, check_least, folder_to_write

HELP = """\
Show what a trained model learned, on subjects it was not trained on (the test split).

  localisation  where in the image the ECG's embedding is found again, and where in the ECG the image's; with the
                share of it in LV, myocardium, RV, P, QRS, T ... against that of an untrained pair, of shuffled subjects
                and of the picture's edges (localisation.json)
  attribution   which samples of the ECG an output follows from: integrated gradients, occlusion, attention
                (attribution.json)
  retrieval     whether the ECG finds its own heart among all, and how close the found one is (retrieval.json)
  embedding     maps, concepts such as LV mass, and diagnostics of the embedding (embedding.json)

RUN is the run folder of an alignment (all kinds), of a downstream stage or a model folder (attribution, embedding), or
of another pre-training on ECGs (embedding). Each kind leaves numbers as JSON and figures as PNG in OUT.

examples:
  ecgcmr explain runs/demo/stages/mae+alignment --root runs/demo/cohort --out runs/demo/explained
  ecgcmr explain runs/demo/model --root runs/demo/cohort --out explained --kind attribution --target lv_mass
  ecgcmr explain runs/ukb/alignment --root data/ukb --out explained --kind retrieval --subjects 2000"""

_SPLITS = ("train", "val", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``explain``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a stage, or model folder")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="prepared cohort")
    parser.add_argument("--out", type=folder_to_write, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--subjects", type=int, default=500, metavar="N", help="at most so many (default: %(default)s)")
    parser.add_argument(
        "--kind", action="append", choices=(*KINDS, "all"), help="may be repeated (default: all that RUN can be given)"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME",
        help="output that attribution is about, such as lv_mass; may be repeated (default: the first)",
    )
    parser.add_argument(
        "--compare",
        action="append",
        type=Path,
        default=[],
        metavar="RUN",
        help="another run, whose ECG encoder the embedding is compared with (CKA); may be repeated",
    )
    parser.add_argument(
        "--umap", action="store_true", help="draw the embedding by UMAP too: pip install ecgcmr[explain]"
    )
    parser.add_argument("--projector", action="store_true", help="write the embedding for TensorBoard's projector too")
    parser.add_argument("--split", default="test", metavar="S", help=f"{', '.join(_SPLITS)} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all random draws (default: %(default)s)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda ... (default: %(default)s)")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="CLASS", help="class, module or package that may be imported"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is in the way")


def run(args: argparse.Namespace) -> int:
    """Carry out the analyses and say what they wrote.

    Returns:
        0.

    Raises:
        UserError: RUN, the cohort or an option does not fit the others.
    """
    check_least(FEWEST_SUBJECTS, **{"--subjects": args.subjects})
    check_least(0, **{"--seed": args.seed})
    check_choice(_SPLITS, **{"--split": args.split})
    from ecgcmr.heavy_imports import import_heavy

    import_heavy("ecgcmr.interpretation.explain")
    from ecgcmr.interpretation.explain import ExplainOptions, chosen_kinds, explain, on_device
    from ecgcmr.interpretation.trained_folder import open_trained
    from ecgcmr.output_folder import output_folder
    from ecgcmr.shards import ShardIndex

    asked = args.kind or ["all"]
    if "all" in asked and len(set(asked)) > 1:
        raise UserError("--kind all: already holds every other kind")
    kinds = () if "all" in asked else tuple(dict.fromkeys(asked))
    options = ExplainOptions(
        kinds, tuple(dict.fromkeys(args.target)), args.subjects, args.split, args.seed, compare=tuple(args.compare),
        umap=args.umap, projector=args.projector, trusted=tuple(args.trust),
    )  # fmt: skip
    options = on_device(options, args.device)
    trained = open_trained(args.run, args.trust)
    chosen = chosen_kinds(trained, options)
    index = ShardIndex.load(args.root)
    source = {
        "weights": trained.weights,
        "cohort": [entry["sha256"] for entry in index.shards],
        **{name: getattr(args, name) for name in ("subjects", "split", "seed")},
    }
    names = [f"{kind}.json" for kind in KINDS]  # of one model and the same subjects, whatever is asked for this time
    # Pictures of other targets, or of UMAP, must not lie beside numbers that know nothing of them.
    renewed = tuple(start for kind in chosen for start in WRITES[kind])
    with output_folder(
        args.out, "explain", source, names=names, overwrite=args.overwrite, keep_others=True, renewed=renewed
    ) as folder:
        explain(trained, index, folder, options, lambda line: print(line, flush=True))
        made = sorted(path.name for path in folder.iterdir())
    print(f"in {args.out}: {', '.join(made)}")
    return 0
