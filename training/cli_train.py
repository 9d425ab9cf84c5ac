"""``schwamm train``: from labelled mail to a candidate model with its evaluation.

What is learned is the archive of imported mail and what people said in the quarantine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.locale import Translator
from gateway.locale.bundles import explain_bundle_error
from gateway.locale.mailboxes import explain_problem
from gateway.settings import Settings
from gateway.store.ownership import settings_of_service
from models.bundle import Bundle, BundleError
from models.mailboxes.message import OnProblem
from models.registry import Registry, baseline_directory
from training import fixed_set
from training.archived_lessons import gather_archived
from training.candidate import train_candidate
from training.cli_corpus import archive_directory, archive_of
from training.cli_evaluate import progress_display
from training.cli_language import no_index, spoken
from training.cli_model import models_directory, not_writable
from training.cli_train_labels import tell_labels
from training.cli_train_tell import as_json, tell
from training.corpus import CorpusMessage, CorpusProblem, read_index
from training.corpus.index import find_index
from training.count_file import CountFileError, read_count_file, write_count_file
from training.labels import LabelReport, lessons_of
from training.lessons import IMPORTED, OTHERS, Lessons, gather
from training.publish import publish
from training.signing_key import SigningKeyError, public_half, read_signing_key
from training.site_index import site_index
from training.slabs import total
from training.split import not_after

_CLOCKS_DIFFER_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What ``schwamm train`` was asked for; ``without`` are people whose labels do not count.

    ``merge`` are count files to learn from, ``counts`` one to write instead of a model.
    """

    corpus: Sequence[Path]
    config: Path | None
    from_nothing: bool
    as_json: bool
    progress: bool | None
    without: Sequence[str] = ()
    merge: Sequence[Path] = ()
    counts: Path | None = None


def run_train(request: TrainRequest) -> None:
    """Train and publish a candidate; exit 1 if the gate refuses it or there is too little mail."""
    problems: list[CorpusProblem] = []

    def note(problem: CorpusProblem) -> None:
        problems.append(problem)
        click.echo(explain_problem(problem, _), err=True)

    settings = settings_of_service(request.config)
    _ = spoken(settings)
    if request.counts is not None:
        _write_counts(request.counts, request, settings, note, _)
        return
    try:
        directory = models_directory(request.config)
        start = None if request.from_nothing else Bundle.load(baseline_directory())
        shipped = fixed_set.load(baseline_directory())
        live = _live(Registry(directory, public_key=settings.model_key), _)
    except (BundleError, ValueError) as error:
        raise click.ClickException(explain_bundle_error(error, _)) from error
    signing_key = _signing_key(settings, _)
    with progress_display(None, wanted=request.progress, _=_) as step:
        lessons, labels = _lessons(request, settings, note, step, _)
        try:
            candidate = train_candidate(lessons, live, start, shipped=shipped, on_step=step, say=_)
        except ValueError as error:  # also NothingToMeasure
            why = _("no model can be made of this mail: {why}").format(why=_(str(error)))
            raise click.ClickException(why) from error
    try:
        name = publish(candidate.bundle, directory, private_key=signing_key)
    except OSError as error:
        raise not_writable(directory, error, _) from error
    if request.as_json:
        click.echo(json.dumps(as_json(name, candidate, labels, len(problems))))
    else:
        tell(name, candidate, labels, settings)
    if not candidate.gate.passed:
        click.get_current_context().exit(1)


def _lessons(
    request: TrainRequest,
    settings: Settings,
    note: OnProblem,
    step: Callable[[], None],
    _: Translator,
) -> tuple[Lessons, LabelReport | None]:
    """The mail to learn; nothing of it came later than now, whatever it says itself."""
    lessons, labels = _gathered(request, settings, note, step, _)
    now, every = time.time(), len(lessons)
    times = not_after(lessons.times, now + _CLOCKS_DIFFER_S)
    ahead = times.count(None) - lessons.times.count(None)
    lessons.times = times
    if 2 * ahead > every:
        text = _(
            "this machine's clock shows {now}, and {ahead} of {every} messages came later: "
            "set the clock, then train again"
        )
        shown = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        raise click.ClickException(text.format(now=shown, ahead=ahead, every=every))
    if ahead:
        text = _(
            "dated in the future, taken as mail without a time: {ahead} of {every}; "
            "if that is much, look at this machine's clock"
        )
        click.echo(text.format(ahead=ahead, every=every), err=True)
    return lessons, labels


def _gathered(
    request: TrainRequest,
    settings: Settings,
    note: OnProblem,
    step: Callable[[], None],
    _: Translator,
) -> tuple[Lessons, LabelReport | None]:
    """The mail to learn; with ``--corpus`` or ``--merge`` that alone."""
    if request.merge:
        return _merged(request, _), None
    if request.corpus:
        return gather(_mail(request.corpus, note, _), on_step=step), None
    archive, directory = archive_of(request.config), archive_directory(request.config)
    lessons = gather_archived(archive, directory, on_problem=note, on_step=step)
    with site_index(settings) as index:
        book = index.labels.book()
    limit = settings.training.labels_per_person_and_day
    _refuse_strangers(request.without, {one.person for one in book.standing}, _)
    labelled, report = lessons_of(book, per_person_and_day=limit, without=request.without)
    lessons.extend(labelled)
    return lessons, report


def _merged(request: TrainRequest, _: Translator) -> Lessons:
    lessons = Lessons()
    for path in request.merge:
        try:
            lessons.extend(read_count_file(path).lessons)
        except CountFileError as error:
            raise click.ClickException(error.told(_)) from error
    given = len(lessons)
    lessons, changed = lessons.last_word()
    for text, number in (
        (_("messages that are in several files and count once: {number}"), given - len(lessons)),
        (_("of them labelled otherwise in a file named later, which counts: {number}"), changed),
    ):
        if number:
            click.echo(text.format(number=number), err=True)
    _refuse_strangers(request.without, {*lessons.voices} - {IMPORTED}, _)
    trusted = {IMPORTED, *lessons.trusted}
    heard = [
        place
        for place, voice in enumerate(lessons.voices)
        if voice not in request.without and (voice in trusted or OTHERS not in request.without)
    ]
    return lessons.chosen(heard)


def _refuse_strangers(without: Sequence[str], people: set[str], _: Translator) -> None:
    """A mistyped name must not leave in what somebody wanted out."""
    for person in without:
        if person not in people and person != OTHERS:
            text = _(
                "--without {person}: nobody of that name has a label that counts; known: {known}"
            )
            known = ", ".join(sorted(people)) or _("nobody")
            raise click.UsageError(text.format(person=person, known=known))


def _write_counts(
    path: Path, request: TrainRequest, settings: Settings, note: OnProblem, _: Translator
) -> None:
    with progress_display(None, wanted=request.progress, _=_) as step:
        lessons, labels = _lessons(request, settings, note, step, _)
    try:
        slabs = write_count_file(path, lessons)
    except OSError as error:
        text = _("{path} cannot be written: {error}").format(
            path=path, error=error.strerror or error
        )
        raise click.ClickException(text) from error
    counts = total(slabs)
    if request.as_json:
        rows = [
            {
                "month": slab.month,
                "customer": slab.customer,
                "ham": slab.ham_messages,
                "spam": slab.spam_messages,
            }
            for slab in slabs
        ]
        click.echo(json.dumps({"file": str(path), "digest": counts.digest(), "slabs": rows}))
        return
    if labels is not None:
        tell_labels(labels, _)
    for slab in slabs:
        numbers = f"{slab.ham_messages:8} ham {slab.spam_messages:8} spam"
        click.echo(f"{slab.month}  {slab.customer or '-':24} {numbers}")
    click.echo(
        _("{path}: {ham} ham and {spam} spam; on another machine: schwamm train --merge").format(
            path=path, ham=counts.ham_messages, spam=counts.spam_messages
        )
    )


def _mail(
    corpus: Sequence[Path], note: OnProblem, _: Translator
) -> Iterable[tuple[CorpusMessage, bool]]:
    """The mail of the index files that were named."""
    indexes = []
    for one in corpus:
        try:
            indexes.append(find_index(one))
        except FileNotFoundError as error:
            raise click.UsageError(f"--corpus: {no_index(one, _)}") from error
    return chain.from_iterable(read_index(index, on_problem=note) for index in indexes)


def _signing_key(settings: Settings, _: Translator) -> Ed25519PrivateKey | None:
    """Read before anything is trained: no evening's work may end with a wrong path."""
    path, asked = settings.training.signing_key, settings.model.signed_by
    try:
        key = None if path is None else read_signing_key(path)
    except SigningKeyError as error:
        text = _("training.signing_key: {path}: {why}; make one: schwamm model key FILE")
        raise click.ClickException(text.format(path=path, why=_(str(error)))) from error
    if asked and (key is None or public_half(key) != asked):
        raise click.ClickException(
            _(
                "a model made here could not serve: model.signed_by asks for the signature of "
                "another key; name the right one in training.signing_key"
            )
        )
    return key


def _live(registry: Registry, _: Translator) -> Bundle:
    """The model that serves, which is the shipped one where the promoted one can't be used."""
    try:
        return registry.current()
    except BundleError as error:
        text = _("the model that serves cannot be compared with: {error}")
        click.echo(text.format(error=explain_bundle_error(error, _)), err=True)
        click.echo(_("the shipped one serves in its place and is compared with"), err=True)
        return Bundle.load(baseline_directory())
