//! Seeded runs of many replicas.
