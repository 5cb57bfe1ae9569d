"""Code that is imported by its name: that of users, and ours once a library is there."""
