"""The model card of the shipped model, written by the build, so it always fits the model."""

from __future__ import annotations

from typing import Final

from models.bundle import Bundle
from training.baseline_lessons import LETTERS, REPORTS

_CARD: Final = """\
# Model card: the shipped baseline

Written by `training/baseline.py`; don't edit. Rebuild with `make baseline`.

| | |
| --- | --- |
| Model | `{model_id}` |
| Digest | `{digest}` |
| Features | `{feature_spec}` |
| Trained on | {ham:,} ham and {spam:,} spam examples |
| Points | at most {cap:g} of the 6 that make a mail spam |
| What it is | class-balanced naive Bayes from integer counts, plus a logistic second stage |

## What it is for

A start for a site that has no labelled mail yet. It has never seen the site's mail, so it can't
condemn a message alone, and it says how much of a message it knows. Learning from the site's own
labels outweighs it.

## What it was made from

| Source | Terms |
| --- | --- |
{sources}

The German texts are part of **CodE Alltag** and are used under CC BY-SA 4.0
(<https://creativecommons.org/licenses/by-sa/4.0/>). Credit: Ulrike Krieg-Holz, Christian
Schuschnig, Franz Matthies, Benjamin Redling, Udo Hahn: *CodE Alltag: A German-Language E-Mail
Corpus*, LREC 2016; Elisabeth Eder, Ulrike Krieg-Holz, Udo Hahn: *CodE Alltag 2.0*, LREC 2020;
Elisabeth Eder, Michael Wiegand, Ulrike Krieg-Holz, Udo Hahn, LREC 2022. The counts and weights
derived from them are shared under the same licence.

Every German text is seen alone and under the header of a SpamAssassin ham, so that neither the
missing header nor the header decides. All recent headers in the sources belong to spam; so every
second older message, ham or spam, is seen a second time in the header and shape of recent mail.
Besides, every English message and every second German text is seen once more under headers written
for this project after the habits of today's mail systems (`training/baseline_modern.py`), ham and
spam alike: nothing recent speaks for either class. The English ham of the sources is talk of
mailing lists. So every second message with a header, ham or spam, is seen once more inside an
everyday letter (`training/baseline_everyday.py`), and two kinds of ham were made for the project:
{letters} letters of nothing else and {reports} delivery reports (`training/baseline_reports.py`).
Features that few texts hold and patterns of little weight were left out; the second stage is the
mean of what it learned in several orders.

## Measures

On {folds}-fold cross-validation by text, within the sources (so friendlier than foreign mail):

| Measure | Value |
| --- | --- |
{metrics}

On foreign mail see `docs/classifier.md`.

## Limits

- The English mail is twenty years old; the recent spam is one person's.
- There is no German spam and no recent ham in it but what was written for the project: it knows
  little about either. Of English mail of today written by hand for a trial, a fifth still got half
  its cap, of the business letters among it nearly half.
- No mail of other languages.
"""


def model_card(bundle: Bundle, folds: int = 3) -> str:
    """Return the card as Markdown."""
    manifest = bundle.manifest
    sources = [f"| {name} | {terms} |" for name, terms in sorted(manifest.sources.items())]
    metrics = [f"| `{name}` | {value:g} |" for name, value in sorted(manifest.metrics.items())]
    return _CARD.format(
        model_id=bundle.model_id,
        digest=bundle.digest,
        feature_spec=bundle.feature_spec,
        ham=manifest.ham_messages,
        spam=manifest.spam_messages,
        cap=bundle.points_cap,
        sources="\n".join(sources),
        metrics="\n".join(metrics),
        folds=folds,
        letters=LETTERS,
        reports=REPORTS,
    )
