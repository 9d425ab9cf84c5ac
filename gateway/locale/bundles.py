"""Why a model cannot serve, in the reader's language.

The models' room knows no languages: it raises English sentences with their values in them. Here
they are recognised by their frame; one that is not known stays English.
"""

import re

from gateway.locale import N_, Translator

_FRAMES = (
    N_("no model was promoted yet"),
    N_("no such model directory"),
    N_("the model was trained on features {found}, this version extracts {wanted}"),
    N_("the model has format {found}, this version reads {wanted}"),
    N_("the content does not fit the digest: damaged or tampered with"),
    N_("the signature does not fit"),
    N_("{model} is not signed, and a signature is required"),
    N_("{file}: {found} bytes, not {wanted}: cut off or tampered with"),
    N_("{file}: no readable array header"),
    N_("{file} is not readable JSON"),
    N_("{file}: No such file or directory"),
    N_("holds {model}: somebody moved it"),
    N_("{name} is no name of a model"),
    N_("the shipped model is missing from this installation"),
    N_("no earlier model is on record: nothing to go back to"),
)


def explain_bundle_error(error: Exception, _: Translator) -> str:
    """The sentence of a ``BundleError``, with the model's name in front where it has one."""
    text = str(error)
    for frame in _FRAMES:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\S+)", re.escape(frame))
        found = re.fullmatch(rf"(?P<where>.+?: )??{pattern}", text)
        if found:
            values = found.groupdict()
            return (values.pop("where") or "") + _(frame).format(**values)
    return text
