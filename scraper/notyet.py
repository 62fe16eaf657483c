"""Keys that Prometheus knows and the scraper does not: each is a fault that says so."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from fleetpulse.yamlconf import Section


def _refuse(message: str) -> Callable[[object], object]:
    def refuse(_value: object) -> object:
        raise ValueError(message)

    return refuse


def _only(default: object, message: str) -> Callable[[object], object]:
    """Accepts the value at which the key does nothing."""

    def check(value: object) -> object:
        if value is not None and value != default:
            raise ValueError(message)
        return None

    return check


NotYet = Annotated[
    Any,
    BeforeValidator(_refuse("not supported yet; leave this key out")),
    Field(exclude=True, repr=False),
]
_NATIVE = "native histograms are not supported; leave this key out"
NotTrue = Annotated[Any, BeforeValidator(_only(False, _NATIVE)), Field(exclude=True, repr=False)]
NotAbove0 = Annotated[Any, BeforeValidator(_only(0, _NATIVE)), Field(exclude=True, repr=False)]


class DefaultsNotYet(Section):
    """Of Prometheus' global section as well as of a job."""

    scrape_native_histograms: NotTrue = None
    convert_classic_histograms_to_nhcb: NotTrue = None
    # Classic histograms are always scraped: there is nothing else to choose.
    always_scrape_classic_histograms: Annotated[bool | None, Field(exclude=True, repr=False)] = None


class JobNotYet(Section):
    aws_sd_configs: NotYet = None
    azure_sd_configs: NotYet = None
    consul_sd_configs: NotYet = None
    digitalocean_sd_configs: NotYet = None
    docker_sd_configs: NotYet = None
    dockerswarm_sd_configs: NotYet = None
    ec2_sd_configs: NotYet = None
    eureka_sd_configs: NotYet = None
    gce_sd_configs: NotYet = None
    hetzner_sd_configs: NotYet = None
    ionos_sd_configs: NotYet = None
    kubernetes_sd_configs: NotYet = None
    kuma_sd_configs: NotYet = None
    lightsail_sd_configs: NotYet = None
    linode_sd_configs: NotYet = None
    marathon_sd_configs: NotYet = None
    nerve_sd_configs: NotYet = None
    nomad_sd_configs: NotYet = None
    oci_sd_configs: NotYet = None
    openstack_sd_configs: NotYet = None
    outscale_sd_configs: NotYet = None
    ovhcloud_sd_configs: NotYet = None
    puppetdb_sd_configs: NotYet = None
    scaleway_sd_configs: NotYet = None
    serverset_sd_configs: NotYet = None
    stackit_sd_configs: NotYet = None
    triton_sd_configs: NotYet = None
    uyuni_sd_configs: NotYet = None
    vultr_sd_configs: NotYet = None
    scrape_classic_histograms: NotYet = None  # its name in Prometheus 2, of native histograms
    native_histogram_bucket_limit: NotAbove0 = None
    native_histogram_min_bucket_factor: NotAbove0 = None
    # The operator for Kubernetes has it in objects of its own, and writes it out for Prometheus.
    scrape_class: NotYet = None


class SectionNotYet(Section):
    global_: Annotated[
        Any,
        BeforeValidator(
            _refuse("this section is what Prometheus calls global; write its keys right here")
        ),
        Field(alias="global", exclude=True, repr=False),
    ] = None
    scrape_classes: NotYet = None


class HttpNotYet(Section):
    oauth2: NotYet = None


class TlsNotYet(Section):
    ca_ref: NotYet = None
    cert_ref: NotYet = None
    key_ref: NotYet = None
