//! Black-box suites over real servers live in `tests/`; this library is empty.
