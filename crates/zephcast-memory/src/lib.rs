//! The embedded broker of zephcast: consumer groups in process, exact, with faults on request.
