"""Whether recordings have room for ``evaluation.windows``, told before the first stage is trained.

How much of a recording an encoder takes is known then: it stands in the config of the stage that trains it.
"""

from __future__ import annotations

from ecgcmr.errors import UserError
from ecgcmr.experiments.config_checks import ReadSettings, exported
from ecgcmr.experiments.plan import Plan
from ecgcmr.shards import ShardIndex


def check_windows(plan: Plan, settings: ReadSettings, index: ShardIndex, cohort: str = "") -> None:
    """Hold the number of windows against the recordings and the input length of every encoder that is compared.

    An encoder of another make, whose arguments do not tell a length, is checked when its features are taken.

    Args:
        plan: The experiment.
        settings: Of its stages and networks.
        index: A cohort of its tasks.
        cohort: Its name, where there are several.

    Raises:
        UserError: If recordings have fewer places for the windows of an encoder.
    """
    windows, ecg = plan.evaluation.windows, index.layout.ecg
    if windows == 1 or ecg is None:
        return
    for encoder, samples in _input_lengths(plan, settings).items():
        places = max(0, ecg.samples - samples + 1)
        if windows > places:
            most = f"set it to {'1' if places == 1 else f'at most {places:,}'} or " if places else ""
            raise UserError(
                f"{plan.path.name}: evaluation.windows is {windows}, but a window of {samples:,} samples, the input of "
                f"{encoder}, has {places:,} place{'' if places == 1 else 's'} in recordings of {ecg.samples:,}"
                f"{f' of cohort {cohort}' if cohort else ''}; {most}"
                "give the encoder fewer samples"
            )


def _input_lengths(plan: Plan, settings: ReadSettings) -> dict[str, int]:
    """Return stage or supervised network -> samples that its encoder takes, of those that the evaluation compares."""
    evaluation = plan.evaluation
    networks = [evaluation.linear_probe, evaluation.layer_probe, evaluation.attention_probe, evaluation.finetune]
    networks.append(evaluation.taught)
    compared = {name for names in networks for name in names} - settings.encoders.keys()
    if compared - plan.stages.keys() - plan.encoders.keys():  # random weights in the shape of a stage's encoder
        compared.add(evaluation.random_encoder_of)
    found = {name: exported(model) for name, model in settings.stages.items() if name in compared}
    lengths = {
        name: encoder.get("init_args", {}).get("samples") for name, encoder in {**found, **settings.encoders}.items()
    }
    return {name: int(samples) for name, samples in lengths.items() if samples is not None}
