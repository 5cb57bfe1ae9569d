"""What the traditional way learns: estimators of other libraries than torch, on pixels."""
