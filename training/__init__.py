"""Owner concern: a better model, with proof.

Reads labelled mail, measures filters by the TREC spam track's protocols, makes models. The
gateway never imports this package; it meets it only through the entry points of ``schwamm``.
"""
