"""InfluxDB 2 and 1, and what takes their write API: samples out, series in, buckets and tasks."""
