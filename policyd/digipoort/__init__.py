"""What every part of the gateway shares: settings, log, reasons, references, the directory, maps and the admin CLI."""
