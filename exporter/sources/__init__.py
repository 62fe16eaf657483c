"""What collectors read that is no file of the kernel's: a bus, sockets, programs, text files."""
