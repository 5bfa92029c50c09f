"""What every service has: probes, request ids, logging, checks. Maintained by the template."""
