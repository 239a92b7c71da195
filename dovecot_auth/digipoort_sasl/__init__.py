"""Stands between Postfix's smtpd and Dovecot's authentication server, so that SMTP AUTH calls our outages temporary."""
