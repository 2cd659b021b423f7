//! API priority and fairness.
