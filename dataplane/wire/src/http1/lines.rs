//! Field sections, line by line.
