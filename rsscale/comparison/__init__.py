"""Several learners on the same labels and the same folds, in one table."""
