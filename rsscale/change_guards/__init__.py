"""Guards of two dates as steps and sources: their shift, their digital numbers."""
