"""Every path of the device against the CPU, and how fast and how busy it is."""
