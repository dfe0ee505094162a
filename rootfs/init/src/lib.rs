//! PID 1 of the image: mounts, consoles, reaping, clean shutdown.
