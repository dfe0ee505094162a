//! A cache outside the checkout.
