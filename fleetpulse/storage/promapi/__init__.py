"""VictoriaMetrics, and what else takes samples by remote write or line protocol and knows PromQL.

config: the section of the configuration. client: HTTP. Samples go in through remotewrite or line
protocol, by writer; they come back through export (pure) and reader. check: whether what was
written has the right name. Queries that are passed through are fleetpulse.promql.passthrough's.
"""
