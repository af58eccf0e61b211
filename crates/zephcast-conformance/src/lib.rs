//! The promises of zephcast as a table of cases that any driver can run.
