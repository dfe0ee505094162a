//! What this machine is: DMI, memory, links, disks and what is on them.
