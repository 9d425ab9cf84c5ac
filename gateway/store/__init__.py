"""Where mail is kept: record files, journals, and the database that indexes them.

``records``, ``journal``, ``journal_reading``, ``generations``, ``codec``, ``files`` and ``lock``
use the standard library only, because SMTP workers import them; the rest needs SQLAlchemy and
belongs to the keeper, the web and the command line.
"""
