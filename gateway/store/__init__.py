"""Where mail is kept: record files, journals, and the database that indexes them.

``records``, ``journal``, ``journal_reading``, ``features``, ``generations``, ``codec``, ``files``
and ``lock`` need no database, because SMTP workers import them; the rest needs SQLAlchemy and
belongs to the keeper, the web and the command line.
"""
