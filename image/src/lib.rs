//! Inputs to artefacts.
