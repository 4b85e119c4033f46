"""A search: who runs how long, what is kept of it, what a failing candidate and an interruption come to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import Diverged, UserError
from ecgcmr.locks import FolderLock
from ecgcmr.training import search_trial, tuning_record
from ecgcmr.training.budget_plan import Budget, budget_for
from ecgcmr.training.candidates import Candidate, candidates_of
from ecgcmr.training.halving import FIRST, MOST_CANDIDATES, finalists, first_round, outermost, second_share, winner
from ecgcmr.training.search import chosen_settings, search
from ecgcmr.training.search_trial import Trials

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RATE = "model.optimiser.lr"
CANDIDATES = [Candidate(name, {RATE: rate}) for name, rate in (("slow", 1e-4), ("middle", 1e-3), ("fast", 1e-2))]
SCORES = {"slow": 0.5, "middle": 0.8, "fast": 0.7}
SECOND = 3 / 8  # of a budget: half of what three twelfths leave
ENTRY = {
    **{"name": "slow", "set": {RATE: 1e-4}, "share": FIRST, "score": 9.0},
    **{"mode": "max", "monitor": "val/auroc", "steps": 33, "failed": None},
}
"""As of a trial that has ended, with a score that none has."""


def trials(ran: list[tuple[str, float]], score: Callable[[str, float], float | str], fingerprint: str = "a") -> Trials:
    """Return fits that leave what a real one does; a score that is a text is an error."""

    def fit(words: list[str]) -> Diverged | None:
        given = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
        place = Path(given["trainer.default_root_dir"])
        share = float(given["budget.share"])
        ran.append((place.name, share))
        found = score(place.name, share)
        (place / "best.ckpt").write_bytes(b"")
        if isinstance(found, str):
            return Diverged(found)
        values = {"best": found, "mode": "max", "monitor": "val/auroc", "steps": round(400 * share)}
        tuning_record.record(place, "budget", values)
        (place / "metrics.json").write_text("{}")
        return None

    return Trials(fit, lambda: None, True, fingerprint=fingerprint)


def test_all_run_shortly_then_the_best_two_and_only_numbers_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[str, float]] = []
    found = search(tmp_path, CANDIDATES, trials(ran, lambda name, share: SCORES[name]))
    assert ran == [("slow", FIRST), ("middle", FIRST), ("fast", FIRST), ("middle", SECOND), ("fast", SECOND)]
    assert (found["chosen"], found["set"], found["outermost"]) == ("middle", {RATE: 1e-3}, None)
    assert found["steps"] == 3 * 33 + 2 * 150
    left = {str(path.relative_to(tmp_path / "search")) for path in tmp_path.rglob("*") if path.is_file()}
    folders = [f"{candidate.name}/{file}" for candidate in CANDIDATES for file in ("metrics.json", "tuning.json")]
    assert left == {"search.json", *folders}
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("search: ")]
    assert len(lines) == len(ran) + 1
    assert lines[0] == f"search: slow ({RATE} 0.0001), 33 steps: val/auroc 0.5"


def test_trials_take_their_share_of_what_the_fit_itself_takes_of_the_budget(tmp_path: Path) -> None:
    ran: list[tuple[str, float]] = []
    search(tmp_path, CANDIDATES, replace(trials(ran, lambda name, share: SCORES[name]), budget=0.5))
    assert {share for _, share in ran} == {FIRST / 2, SECOND / 2}


def test_an_equal_search_is_not_repeated_and_another_one_is(tmp_path: Path) -> None:
    ran: list[tuple[str, float]] = []
    first = search(tmp_path, CANDIDATES, trials(ran, lambda name, share: SCORES[name]))
    count = len(ran)
    assert search(tmp_path, CANDIDATES, trials(ran, lambda name, share: SCORES[name])) == first
    assert len(ran) == count
    search(tmp_path, CANDIDATES, trials(ran, lambda name, share: SCORES[name], "b"))
    assert len(ran) == 2 * count


@pytest.mark.parametrize("at", range(5))
def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path, at: int) -> None:
    ran: list[tuple[str, float]] = []

    def cut_off(name: str, share: float) -> float:
        if len(ran) == at + 1:
            raise KeyboardInterrupt
        return SCORES[name]

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, CANDIDATES, trials(ran, cut_off))
    found = search(tmp_path, CANDIDATES, trials(ran, lambda name, share: SCORES[name]))
    assert found["chosen"] == "middle"
    assert len(ran) == 5 + 1  # the one that was cut off ran again
    assert len(set(ran)) == 5


def words_of_a_search(folder: Path) -> list[list[str]]:
    """Run a search with the fingerprint ``a``, and return by which words each of its trials was fitted."""
    given: list[list[str]] = []
    fits = trials([], lambda name, share: SCORES[name])

    def fit(words: list[str]) -> Diverged | None:
        given.append(words)
        return fits.fit(words)

    search(folder, CANDIDATES, replace(fits, fit=fit))
    return given


@pytest.mark.parametrize(("fingerprint", "word"), [("a", "--ckpt_path=last"), ("another", "--overwrite")])
def test_a_trial_that_was_cut_off_goes_on_in_the_same_search_alone(tmp_path: Path, fingerprint: str, word: str) -> None:
    """Settings, weights and names of candidates may have changed since."""
    for name in ("slow", "of-old"):
        (tmp_path / "search" / name).mkdir(parents=True)
        note = {"share": FIRST, "fingerprint": fingerprint}
        (tmp_path / "search" / name / "trial.json").write_text(json.dumps(note))
        torch.save({}, tmp_path / "search" / name / "last.ckpt")
    given = words_of_a_search(tmp_path)
    assert [words[-1] for words in given] == [word, *["--overwrite"] * 4]
    assert (tmp_path / "search" / "of-old" / "last.ckpt").exists() == (fingerprint == "a")


def test_a_trial_that_was_killed_before_its_last_checkpoint_begins_anew(tmp_path: Path) -> None:
    """Each validation writes best.ckpt first; a fit goes on from last.ckpt."""
    place = tmp_path / "search" / "slow"
    place.mkdir(parents=True)
    (place / "trial.json").write_text(json.dumps({"share": FIRST, "fingerprint": "a"}))
    torch.save({}, place / "best.ckpt")
    given = words_of_a_search(tmp_path)
    assert given[0][-1] == "--overwrite"


def test_only_trials_are_removed_and_none_that_runs_or_lies_elsewhere(tmp_path: Path) -> None:
    other = json.dumps({"share": FIRST, "fingerprint": "of another search"})
    places = {name: tmp_path / "run" / "search" / name for name in ("left", "held", "copy")}
    places["elsewhere"] = tmp_path / "elsewhere"
    for name, place in places.items():
        place.mkdir(parents=True)
        torch.save({}, place / "best.ckpt")
        if name != "copy":  # somebody's own
            (place / "trial.json").write_text(other)
    (tmp_path / "run" / "search" / "link").symlink_to(places["elsewhere"])
    with FolderLock(places["held"], "fit"):
        search(tmp_path / "run", CANDIDATES, trials([], lambda name, share: SCORES[name]))
    assert [name for name, place in places.items() if (place / "best.ckpt").exists()] == ["held", "copy", "elsewhere"]


@pytest.mark.parametrize(
    "entry",
    [
        *(1, None, [], {}, {"name": "slow"}),
        {"name": "slow", "share": FIRST, "score": "9", "set": {}},
        {"name": "slow", "share": FIRST, "score": 9.0, "steps": "many", "set": {}},
        {"name": "slow", "share": FIRST, "score": 10**400, "set": {}},
        {"name": ["slow"], "share": [FIRST], "score": 9.0, "set": {}},
        *(
            {**ENTRY, name: value}
            for name, values in {
                "mode": ["banana", None],
                "steps": [-5, True, 10**300, 1.5],
                "set": [{}, {RATE: 9.0}],
                "name": ["ghost"],
                "failed": ["the loss is nan"],
                "score": [None],
                "monitor": [3],
                "more": [1],
            }.items()
            for value in values
        ),
        *({key: value for key, value in ENTRY.items() if key != left} for left in ENTRY),
    ],
)
def test_what_is_no_entry_of_a_search_is_tried_anew(tmp_path: Path, entry: object) -> None:
    expected = search(tmp_path / "new", CANDIDATES, trials([], lambda name, share: SCORES[name]))
    (tmp_path / "old" / "search").mkdir(parents=True)
    note = json.dumps({"fingerprint": "a", "tried": [entry]})
    (tmp_path / "old" / "search" / "search.json").write_text(note)
    assert search(tmp_path / "old", CANDIDATES, trials([], lambda name, share: SCORES[name])) == expected


def test_of_an_entry_written_twice_and_of_a_trial_nobody_asked_for_the_search_takes_no_notice(tmp_path: Path) -> None:
    expected = search(tmp_path, CANDIDATES, trials([], lambda name, share: SCORES[name]))
    path = tmp_path / "search" / "search.json"
    note = json.loads(path.read_text())
    beaten = {**note["tried"][0], "share": SECOND, "score": 99.0}  # was no finalist
    twice = {**note["tried"][1], "score": 0.0}
    path.write_text(json.dumps({**note, "tried": [*note["tried"], twice, beaten]}))
    found = search(tmp_path, CANDIDATES, trials([], lambda name, share: SCORES[name]))
    assert found["chosen"] == expected["chosen"]
    assert [entry for entry in found["tried"] if entry != beaten] == expected["tried"]


@pytest.mark.parametrize("removed", range(1, 5))
def test_a_trial_that_is_killed_while_it_is_cleared_away_begins_anew(
    tmp_path: Path, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left must not look like one that was cut off and can go on."""
    calls: list[Path] = []

    def fit(words: list[str]) -> Diverged | None:
        fits.fit(words)
        place = Path(next(word for word in words if "default_root_dir" in word).partition("=")[2])
        torch.save({}, place / "last.ckpt")
        (place / "config.yaml").write_text("")
        return None

    def killed(paths: Iterable[Path]) -> None:
        for path in paths:
            calls.append(path)
            path.unlink(missing_ok=True)
            if len(calls) == removed:
                raise KeyboardInterrupt

    fits = trials([], lambda name, share: SCORES[name])
    with monkeypatch.context() as patched:
        patched.setattr(search_trial, "remove_paths", killed)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, CANDIDATES, replace(fits, fit=fit))
    assert calls[0].name == "last.ckpt"
    given = words_of_a_search(tmp_path)
    assert given[0][-1] == "--overwrite"
    assert len(given) == 5


@pytest.mark.parametrize("linked", ["search", "search/slow", "search/fast"])
def test_a_search_empties_no_folder_through_a_link(tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    for place in (elsewhere, elsewhere / "slow"):
        place.mkdir()
        torch.save({}, place / "best.ckpt")
        (place / "trial.json").write_text(json.dumps({"share": FIRST, "fingerprint": "of another"}))
    link = tmp_path / "run" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    ran: list[tuple[str, float]] = []
    with pytest.raises(UserError, match=f"{linked}: is a link"):
        search(tmp_path / "run", CANDIDATES, trials(ran, lambda name, share: SCORES[name]))
    assert not ran
    assert all((place / "best.ckpt").is_file() for place in (elsewhere, elsewhere / "slow"))


@pytest.mark.parametrize("place", ["search", "search/fast"])
def test_a_file_where_a_folder_of_a_search_would_lie_is_refused_before_the_first_trial(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("somebody's")
    ran: list[tuple[str, float]] = []
    with pytest.raises(UserError, match=f"{place}: is a file"):
        search(tmp_path, CANDIDATES, trials(ran, lambda name, share: SCORES[name]))
    assert not ran


@pytest.mark.parametrize("file", ["best.ckpt", "predictions.npz", "config.yaml"])
def test_a_run_that_lies_where_a_trial_would_is_left_alone(tmp_path: Path, file: str) -> None:
    place = tmp_path / "search" / "slow"
    place.mkdir(parents=True)
    (place / file).write_text("somebody's")
    with pytest.raises(
        UserError, match=rf"search/slow: holds a run that is no trial of this search \({file}\); move it"
    ):
        search(tmp_path, CANDIDATES, trials([], lambda name, share: SCORES[name]))
    assert (place / file).read_text() == "somebody's"


def test_other_ranks_do_not_stumble_over_what_rank_zero_is_removing(tmp_path: Path) -> None:
    """They may look at a trial's folder between the removal of its note and their look at its files."""
    for name in SCORES:  # rank zero makes them
        (tmp_path / "search" / name).mkdir(parents=True)
        (tmp_path / "search" / name / "best.ckpt").write_text("of a trial whose note has just gone")
    fits = trials([], lambda name, share: SCORES[name])
    with FolderLock(tmp_path / "search", "fit"):  # of rank zero
        found = search(tmp_path, CANDIDATES, replace(fits, writes=False))
    assert found["chosen"] == "middle"


def test_two_searches_of_one_folder_do_not_run_at_once(tmp_path: Path) -> None:
    """The second would remove what a trial of the first has written."""

    def second(words: list[str]) -> Diverged | None:
        place = tmp_path / "search" / "slow"
        torch.save({}, place / "last.ckpt")
        with pytest.raises(UserError, match=r"search: 'ecgcmr fit' is writing there"):
            search(tmp_path, CANDIDATES, trials([], lambda name, share: SCORES[name], "another"))
        assert (place / "last.ckpt").is_file()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, CANDIDATES, Trials(second, lambda: None, True))


def test_a_trial_that_somebody_runs_by_itself_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "search" / "slow"
    place.mkdir(parents=True)
    (place / "trial.json").write_text(json.dumps({"share": FIRST, "fingerprint": "of another"}))
    torch.save({}, place / "last.ckpt")
    with FolderLock(place, "fit"), pytest.raises(UserError, match="search/slow: 'ecgcmr fit' is writing there"):
        search(tmp_path, CANDIDATES, trials([], lambda name, share: SCORES[name]))
    assert (place / "last.ckpt").is_file()


def test_what_stops_a_trial_but_divergence_ends_the_search(tmp_path: Path) -> None:
    def full(words: list[str]) -> Diverged | None:
        raise UserError("no space left")

    with pytest.raises(UserError, match="no space left"):
        search(tmp_path, CANDIDATES, Trials(full, lambda: None, True))
    assert not (tmp_path / "search" / "search.json").exists()


def test_trials_of_other_lengths_count_for_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = CANDIDATES[:2]
    expected = search(tmp_path / "new", two, trials([], lambda name, share: SCORES[name]))
    note = json.loads((tmp_path / "new" / "search" / "search.json").read_text())
    old = [{**entry, "share": 0.25, "steps": 999, "score": 9.0} for entry in note["tried"]]
    (tmp_path / "old" / "search").mkdir(parents=True)
    (tmp_path / "old" / "search" / "search.json").write_text(json.dumps({**note, "tried": old}))
    capsys.readouterr()
    assert search(tmp_path / "old", two, trials([], lambda name, share: SCORES[name])) == expected
    assert "are known" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "the fit stopped at step 8 (epoch 0, rank 0): the loss is nan, of a batch of row 3 (subject ab); lower",
            "the fit stopped at step 8 (epoch 0, rank 0): the loss is nan",
        ),
        ("the fit stopped: val/prediction is NaN or infinite in row 20 (subject ab); lower", "the fit stopped: "
         "val/prediction is NaN or infinite"),
        ("validate: recordings hold NaN or infinity: row 3 (subject ab), row 4 (subject cd)", "validate: recordings "
         "hold NaN or infinity"),
    ],
)  # fmt: skip
def test_reasons_say_what_happened_and_name_no_row(tmp_path: Path, message: str, reason: str) -> None:
    found = search(tmp_path, CANDIDATES, trials([], lambda name, share: message if name == "slow" else SCORES[name]))
    assert [entry["failed"] for entry in found["tried"] if entry["failed"]] == [reason]


def test_a_failing_candidate_loses_with_its_reason(tmp_path: Path) -> None:
    diverged = "the loss is nan, of a batch of row 3; lower the learning rate"
    found = search(tmp_path, CANDIDATES, trials([], lambda name, share: diverged if name == "middle" else SCORES[name]))
    assert (found["chosen"], found["outermost"]) == ("fast", "highest")
    reasons = {entry["name"]: entry["failed"] for entry in found["tried"] if entry["share"] == FIRST}
    assert reasons == {"slow": None, "middle": "the loss is nan", "fast": None}


def test_a_search_whose_candidates_all_fail_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"all candidates failed \(slow: the loss is nan; middle: .*remove .*search"):
        search(tmp_path, CANDIDATES, trials([], lambda name, share: "the loss is nan"))


def test_a_validation_split_that_judges_nobody_is_no_fault_of_candidates(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no validation gave a number.*; give the validation split labels"):
        search(tmp_path, CANDIDATES, Trials(lambda words: None, lambda: None, True))


def test_what_was_chosen_is_read_from_the_run_or_refused(tmp_path: Path) -> None:
    tuning_record.record(tmp_path, "search", {"set": {RATE: 0.1}})
    assert chosen_settings(tmp_path) == {RATE: 0.1}
    (tmp_path / tuning_record.NAME).unlink()
    with pytest.raises(UserError, match="does not say what the search of this run chose; give -c .*config.yaml"):
        chosen_settings(tmp_path)


@pytest.mark.parametrize("count", range(1, MOST_CANDIDATES + 1))
@pytest.mark.parametrize("rows", [28, 280, 3000, 30000])
def test_search_and_fit_cost_at_most_three_fits(count: int, rows: int) -> None:
    names = [str(number) for number in range(count)]
    first = dict.fromkeys(first_round(names), 0.0)
    shares = [FIRST] * len(first) + [second_share(names)] * len(finalists(names, first))
    assert sum(shares) == pytest.approx(1 if count > 1 else 1 / 2)
    steps = sum(budget_for(rows, 32, Budget(share=share)).most for share in shares)
    plan = budget_for(rows, 32)
    shortest = plan.end_after(plan.least)
    assert steps + shortest <= 3 * shortest


@pytest.mark.parametrize("scores", list(itertools.product([None, 0.1, 0.2], repeat=4)))
def test_rounds_are_what_a_slow_twin_says(scores: tuple[float | None, ...]) -> None:
    names = list("abcd")
    first = dict(zip(names, scores, strict=True))
    ranked = sorted((k for k in range(4) if scores[k] is not None), key=lambda k: (-(scores[k] or 0), k))
    last = finalists(names, first)
    assert last == [names[k] for k in sorted(ranked[:2])]
    assert winner(names, first, {name: first[name] for name in last}) == (names[ranked[0]] if ranked else None)
    third = names[ranked[2]] if len(ranked) > 2 else None
    assert winner(names, first, dict.fromkeys(last)) == third  # both failed when they ran longer


def test_outermost_asks_for_three_rates_of_the_same_settings() -> None:
    rates: dict[str, dict[str, object]] = {"a": {RATE: 1}, "b": {RATE: 2}, "c": {RATE: 3}, "d": {RATE: 9, "x.y": 1}}
    assert [outermost(rates, name) for name in "abcd"] == ["lowest", None, "highest", None]
    assert outermost({name: rates[name] for name in "ab"}, "b") is None
    assert outermost({"plain": {}}, "plain") is None


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "search has 0 candidates"),
        ([{"name": f"c{k}", "set": {}} for k in range(7)], "search has 7 candidates: name 1 to 6"),
        ([{"name": "a", "set": {}}] * 2, "two candidates are named a"),
        ([{"name": "../a", "set": {}}], "candidate '../a': a name is letters"),
        ([{"name": "a", "set": {"seed_everything": 3}}], "candidate a sets seed_everything"),
        ([{"name": "a", "set": {3: 1}}], "candidate a sets 3"),
    ],
)
def test_candidates_that_are_a_mistake_are_refused(entries: list[dict], words: str) -> None:
    with pytest.raises(UserError, match=words):
        candidates_of(entries)


@pytest.mark.parametrize(
    "key",
    [
        *("model.init_args.monitor", "model.monitor", "model.class_path", "model.init_args"),
        *("data.evaluation_windows", "data.init_args.evaluation_windows", "data.init_args", "data.samples"),
        *("data.labels", "data.labels+", "data.train_labels", "data.train_fraction", "data.selection", "data.seed"),
        *("data.leave_out_leads", "data.covariates", "data.predict_split"),
        *("trainer.limit_val_batches", "trainer.limit_test_batches", "trainer.default_root_dir"),
        *("trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.accelerator"),
    ],
)
def test_what_candidates_share_none_of_them_sets(key: str) -> None:
    with pytest.raises(UserError, match=r"candidate a sets .*, which candidates share"):
        candidates_of([{"name": "a", "set": {key: 1}}])


@pytest.mark.parametrize("key", ["model.encoder.init_args.samples", "data.train_windows", "data.batch_size"])
def test_how_a_candidate_is_trained_it_may_set(key: str) -> None:
    assert candidates_of([{"name": "a", "set": {key: 1}}])[0].set == {key: 1}


def test_an_encoder_given_whole_is_kept_as_a_search_writes_it() -> None:
    """The parser hands over namespaces, and its classes' tuples."""
    encoder = Namespace(class_path="ecgcmr.encoders.ECGCNN", init_args=Namespace(widths=(8, 16), by_block={0: 1}))
    [candidate] = candidates_of([Namespace(name="a", set={"model.encoder": encoder})])
    assert candidate.set == {
        "model.encoder": {
            "class_path": "ecgcmr.encoders.ECGCNN",
            "init_args": {"widths": [8, 16], "by_block": {"0": 1}},
        }
    }
    assert json.loads(json.dumps(candidate.set)) == candidate.set


@pytest.mark.parametrize("name", ["finetune", "from_scratch"])
def test_shipped_searches_are_pieces_of_a_config(name: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text(yaml.safe_dump({"search": str(CONFIGS / "searches" / f"{name}.yaml")}))
    entries = read_config(path)["search"]
    candidates = candidates_of(entries)
    assert 3 <= len(candidates) <= MOST_CANDIDATES
    assert any(outermost({c.name: c.set for c in candidates}, c.name) for c in candidates)
    assert json.loads(json.dumps(entries)) == entries
