"""The publisher daemon: keeps this host's maps as the directory is."""
