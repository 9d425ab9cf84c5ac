"""The commands that training adds to ``schwamm``.

This module stays cheap to import, since ``schwamm --help`` and completion load it: what a command
needs is imported when it runs.
"""

from __future__ import annotations

from pathlib import Path

import click

_INDEX = click.option(
    "--index",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Lines 'ham PATH' or 'spam PATH', in order of arrival; paths are relative to FILE.",
)
_SCORER = click.option(
    "--scorer",
    type=click.Choice(["classifier", "pipeline"]),
    default="classifier",
    show_default=True,
    help="The classifier alone, or the gateway's whole scoring without DNS.",
)
_MODEL = click.option(
    "--model",
    metavar="M",
    help="A model's folder, or 'none' to start from nothing. Default: the shipped baseline.",
)
_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The gateway's configuration.  [default: gateway.toml]",
)


def commands() -> list[click.Command]:
    """Return the commands; the entry point ``schwamm.commands`` names this function."""
    return [evaluate, jig, corpus, train, model]


@click.command()
@_INDEX
@click.option(
    "--protocol",
    default="batch",
    show_default=True,
    metavar="P",
    help="batch: score only; with --model none train on the earlier half, score the later. "
    "online: score, then learn each message. delayed:N: learn the first N messages only.",
)
@_SCORER
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N messages.")
@_MODEL
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with plots and the worst mistakes.",
)
@click.option(
    "--lang",
    type=click.Choice(["de", "en"]),
    help="Language of output and report.  [default: yours]",
)
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Show how long it will take.  [default: on a terminal]",
)
@click.pass_context
def evaluate(  # noqa: PLR0913  # one for each option
    ctx: click.Context,
    *,
    index: Path | None,
    protocol: str,
    scorer: str,
    limit: int | None,
    model: str | None,
    as_json: bool,
    report: Path | None,
    lang: str | None,
    progress: bool | None,
) -> None:
    """Measure a filter on labelled mail by the TREC spam track's measures."""
    from training.cli_evaluate import EvaluateRequest, run_evaluate  # noqa: PLC0415
    from training.cli_language import chosen_language  # noqa: PLC0415

    request = EvaluateRequest(
        index=index,
        protocol=protocol,
        scorer=scorer,
        limit=limit,
        model=model,
        as_json=as_json,
        report=report,
        language=lang or chosen_language(),
        progress=progress,
        pipeline=_from_parent(ctx, "pipeline_scorer"),
    )
    run_evaluate(request)


@click.command()
@_SCORER
@_MODEL
@click.pass_context
def jig(ctx: click.Context, *, scorer: str, model: str | None) -> None:
    """Let an outside judge drive the filter over standard input.

    One command a line: 'classify PATH' answers 'class=spam score=0.98'; 'train ham PATH' and
    'train spam PATH' teach and answer nothing; 'finalize' ends. A message that cannot be read is
    answered 'class=ham score=0', with the reason on standard error.
    """
    from training.cli_jig import run_jig  # noqa: PLC0415

    run_jig(scorer=scorer, model=model, pipeline=_from_parent(ctx, "pipeline_scorer"))


@click.group()
def corpus() -> None:
    """The labelled mail of this site."""


@corpus.command("import")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--label",
    type=click.Choice(["ham", "spam", "none"]),
    help="What the mail at PATH is; none takes its labels back.",
)
@_INDEX
@_CONFIG
@click.option("--who", help="Who says so.  [default: your login name]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def corpus_import(
    *,
    path: Path | None,
    label: str | None,
    index: Path | None,
    config: Path | None,
    who: str | None,
    as_json: bool,
) -> None:
    """Add labelled mail: a message, mbox, Maildir or folder at PATH, or the lines of an index."""
    from training.cli_corpus import run_import  # noqa: PLC0415

    run_import(path=path, label=label, index=index, config=config, who=who, as_json=as_json)


@corpus.command("label")
@click.argument("message_id")
@click.argument("value", type=click.Choice(["ham", "spam", "none"]))
@click.option("--reason", default="", help="Why, for whoever reads it later.")
@_CONFIG
@click.option("--who", help="Who says so.  [default: your login name]")
def corpus_label(
    *, message_id: str, value: str, reason: str, config: Path | None, who: str | None
) -> None:
    """Say what an imported message really is; "none" takes its label back.

    MESSAGE_ID is the digest that train names it by, or the beginning of it.
    """
    from training.cli_corpus import run_label  # noqa: PLC0415

    run_label(message_id, value, reason=reason, config=config, who=who)


@click.command()
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="An index file to learn from instead of the site's archive; may be given again.",
)
@_CONFIG
@click.option(
    "--from-nothing", is_flag=True, help="Do not begin with what the shipped model knows."
)
@click.option(
    "--without",
    multiple=True,
    metavar="PERSON",
    help="Leave out the labels of this person; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option(
    "--counts",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.npz",
    help="Make no model: write what would be learned for another machine to merge.",
)
@click.option("--merge", is_flag=True, help="Learn what other machines wrote into FILES.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Show how far it is.  [default: on a terminal]",
)
def train(  # noqa: PLR0913  # one for each option
    *,
    files: tuple[Path, ...],
    counts: Path | None,
    merge: bool,
    corpus: tuple[Path, ...],
    config: Path | None,
    from_nothing: bool,
    without: tuple[str, ...],
    as_json: bool,
    progress: bool | None,
) -> None:
    """Make a candidate model from labelled mail and judge it; it does not serve before promoted.

    Several machines: 'train --counts ONE.npz' on each, then 'train --merge ONE.npz TWO.npz'.
    """
    from training.cli_train import TrainRequest, run_train  # noqa: PLC0415

    if merge is not bool(files) or (merge and corpus):
        raise click.UsageError("give FILES with --merge, and neither of them with --corpus")
    request = TrainRequest(
        merge=files,
        counts=counts,
        corpus=corpus,
        config=config,
        from_nothing=from_nothing,
        without=without,
        as_json=as_json,
        progress=progress,
    )
    run_train(request)


@click.group()
def model() -> None:
    """The models of this gateway and which one serves."""


@model.command("list")
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def model_list(*, config: Path | None, as_json: bool) -> None:
    """List all models, the newest first."""
    from training.cli_model import run_list  # noqa: PLC0415

    run_list(config=config, as_json=as_json)


@model.command("show")
@click.argument("name", required=False)
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def model_show(*, name: str | None, config: Path | None, as_json: bool) -> None:
    """Show what a model is made of; without NAME the one that serves."""
    from training.cli_model_show import run_show  # noqa: PLC0415

    run_show(name, config=config, as_json=as_json)


@model.command("verify")
@click.argument("name", required=False)
@_CONFIG
def model_verify(*, name: str | None, config: Path | None) -> None:
    """Check one model, or all, against their digests."""
    from training.cli_model import run_verify  # noqa: PLC0415

    run_verify(name, config=config)


@model.command("promote")
@click.argument("name")
@_CONFIG
@click.option("--force", is_flag=True, help="Also one that its gate refused.")
def model_promote(*, name: str, config: Path | None, force: bool) -> None:
    """Let a model serve; all workers take it up within seconds."""
    from training.cli_model import run_promote  # noqa: PLC0415

    run_promote(name, config=config, force=force)


@model.command("rollback")
@_CONFIG
def model_rollback(*, config: Path | None) -> None:
    """Let the model serve again that served before."""
    from training.cli_model import run_rollback  # noqa: PLC0415

    run_rollback(config=config)


@model.command("key")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@_CONFIG
def model_key(*, path: Path, config: Path | None) -> None:
    """Make the key that models are signed with; tells what to write into gateway.toml."""
    from training.cli_model_key import run_key  # noqa: PLC0415

    run_key(path, config=config)


@model.command("shadow")
@click.argument("name", metavar="NAME|none")
@_CONFIG
def model_shadow(*, name: str, config: Path | None) -> None:
    """Let a model score beside the serving one without deciding anything."""
    from training.cli_shadow import run_shadow  # noqa: PLC0415

    run_shadow(name, config=config)


@model.command("compare")
@click.argument("name", required=False)
@click.option(
    "--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How far to look."
)
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def model_compare(*, name: str | None, days: int, config: Path | None, as_json: bool) -> None:
    """Compare the watched model with the serving one on the mail both have scored."""
    from training.cli_shadow import run_compare  # noqa: PLC0415

    run_compare(name, days=days, config=config, as_json=as_json)


def _from_parent(ctx: click.Context, key: str) -> object:
    """Return what the gateway's command line handed down, or None when run without it."""
    return ctx.obj.get(key) if isinstance(ctx.obj, dict) else None
