"""What other systems read and write: OpenSLO, Prometheus. Each file is data in, text out, or the reverse."""
