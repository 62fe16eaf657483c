"""What a remote writer (Prometheus, vmagent, Grafana Alloy, …) may send."""

from pydantic import Field, field_validator

from fleetpulse.yamlconf import Duration, Section, Size


class RemoteWriteConfig(Section):
    """Bounds of POST /api/v1/write. A key of scope push opens it."""

    # false: the path answers 404, whoever asks.
    enabled: bool = True
    # Largest request body as it comes in.
    max_body: Size = 16 << 20
    # Largest body after decompression: told by its first bytes, and refused before it is made.
    max_decompressed: Size = 64 << 20
    # Most samples in one request.
    max_samples: int = Field(default=500_000, ge=1)
    # Series of all senders that had a sample in the last 15 minutes; new ones beyond are refused.
    max_series: int = Field(default=1_000_000, ge=1)
    # A series with more labels, or with a name or value of more bytes, is refused.
    label_limit: int = Field(default=64, ge=1)
    label_name_length_limit: int = Field(default=1024, ge=1)
    label_value_length_limit: int = Field(default=8192, ge=1)
    # Which labels are the target's, whose other labels a fleet's hosts have in common. Beside job
    # and instance name the senders' external labels that part one target from another.
    target_labels: tuple[str, ...] = ("job", "instance")
    # How far ahead of this clock a sample's time may be.
    max_future: Duration = 600.0
    # How old a sample may be: at most what the store keeps.
    max_age: Duration = 7 * 86400.0
    # Requests worked on at the same time; the others wait so long, then are told to come again.
    max_concurrency: int = Field(default=4, ge=1)
    max_wait: Duration = 2.0

    @field_validator("target_labels")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name or name == "__name__":
                raise ValueError(f"{name!r} is no label of a target; write for example cluster")
        return names
