//! Retained messages at a subscription.
