//! Shared laboratory of the tests against real servers.
