"""The SMTP front end: a server on aiosmtpd, its limits, its TLS, and the way into the pipeline."""
