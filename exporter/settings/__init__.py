"""What the exporter can be told, in the configuration file or by node_exporter's flags."""
